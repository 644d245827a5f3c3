// AMGCL on a matrix that `cargo bench --bench linsolve -- --amgcl PROGRAM` wrote: amgcl_cases DIRECTORY LABEL TOLERANCE.
//
// Smoothed aggregation with the SPAI(0) smoother as a preconditioner of conjugate gradients, AMGCL's defaults; OMP_NUM_THREADS
// threads. Prints a row of the benchmark's table. `benches/peers/setup.sh` says how it is built.

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include <boost/range.hpp>
#include <boost/tuple/tuple.hpp>

#include <amgcl/adapter/crs_tuple.hpp>
#include <amgcl/amg.hpp>
#include <amgcl/backend/builtin.hpp>
#include <amgcl/coarsening/smoothed_aggregation.hpp>
#include <amgcl/make_solver.hpp>
#include <amgcl/relaxation/spai0.hpp>
#include <amgcl/solver/cg.hpp>

typedef amgcl::backend::builtin<double> Backend;
typedef amgcl::make_solver<
    amgcl::amg<Backend, amgcl::coarsening::smoothed_aggregation, amgcl::relaxation::spai0>,
    amgcl::solver::cg<Backend>>
    Solver;

// The values of a one-dimensional NumPy file of version 1.
template <class T> std::vector<T> load(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    char magic[10];
    if (!file.read(magic, 10)) {
        std::cerr << path << ": cannot be read\n";
        std::exit(1);
    }
    file.seekg(0, std::ios::end);
    const long start = 10 + static_cast<unsigned char>(magic[8]) + 256 * static_cast<unsigned char>(magic[9]);
    std::vector<T> values((static_cast<long>(file.tellg()) - start) / sizeof(T));
    file.seekg(start);
    file.read(reinterpret_cast<char *>(values.data()), values.size() * sizeof(T));
    return values;
}

double wall() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpu() {
    timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        std::cerr << "usage: amgcl_cases DIRECTORY LABEL TOLERANCE\n";
        return 2;
    }
    const std::string directory = argv[1];
    const auto data = load<double>(directory + "/data.npy");
    const auto indices = load<int>(directory + "/indices.npy");
    const auto indptr = load<int>(directory + "/indptr.npy");
    const auto b = load<double>(directory + "/b.npy");
    const int n = static_cast<int>(b.size());

    double start = wall();
    Solver::params parameters;
    parameters.solver.tol = std::atof(argv[3]);
    parameters.solver.maxiter = 1000;
    Solver solve(boost::tie(n, indptr, indices, data), parameters);
    const double setup = wall() - start;

    std::vector<double> x(n, 0.0);
    start = wall();
    const double start_cpu = cpu();
    size_t iterations;
    double estimate;
    boost::tie(iterations, estimate) = solve(b, x);
    const double seconds = wall() - start, seconds_cpu = cpu() - start_cpu;

    double residual = 0, size = 0;
    for (int i = 0; i < n; ++i) {
        double r = b[i];
        for (int j = indptr[i]; j < indptr[i + 1]; ++j) r -= data[j] * x[indices[j]];
        residual += r * r;
        size += b[i] * b[i];
    }
    std::printf("| %s | %-20s |    - /    - / %4d | %8.4f | %8.4f | %8.4f | %8.1e |    - |\n", argv[2], "AMGCL SA + CG",
                static_cast<int>(iterations), setup, seconds, seconds_cpu, std::sqrt(residual / size));
}
