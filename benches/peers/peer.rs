//! Client of the measuring servers; the protocol is in README.md.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cases::{Case, Equation, Task};

/// Name and script of each peer.
pub const PEERS: [(&str, &str); 2] =
    [("exponax", "benches/peers/exponax_cases.py"), ("jax-cfd", "benches/peers/jaxcfd_cases.py")];

/// Whether the peer of that name solves the case.
pub fn solves(peer: &str, case: &Case) -> bool {
    peer == "exponax" || (case.equation == Equation::Ns2d && case.task == Task::Advance)
}

/// A server that runs until it is dropped.
pub struct Peer {
    pub name: &'static str,
    /// Its versions, as JSON.
    pub versions: Value,
    process: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
struct Ready {
    versions: Value,
}

/// What a server says about one run.
#[derive(Deserialize)]
pub struct Answer {
    pub wall_us_per_step: f64,
    pub cpu_us_per_step: f64,
    pub peak_mib: f64,
}

impl Peer {
    /// Starts the server; it inherits our processors and takes the first `threads` of them.
    pub fn start(python: &Path, (name, script): (&'static str, &str), precision: &str, threads: usize) -> Result<Self> {
        let mut process = Command::new(python)
            .args([script, "--precision", precision, "--threads", &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}: run benches/peers/setup.sh, or name --python", python.display()))?;
        let requests = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("stdout is piped"));
        let mut peer = Self { name, versions: Value::Null, process, requests, answers };
        peer.versions = peer.read::<Ready>()?.versions;
        Ok(peer)
    }

    /// One run of the request; the first of a kind is compiled before its clock starts.
    pub fn measure(&mut self, request: &Value) -> Result<Answer> {
        let requests = self.requests.as_mut().expect("open until dropped");
        writeln!(requests, "{request}")?;
        requests.flush()?;
        self.read()
    }

    fn read<A: DeserializeOwned>(&mut self) -> Result<A> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the server of {} has ended", self.name);
        }
        let answer: Value = serde_json::from_str(&line)?;
        if let Some(error) = answer.get("error") {
            bail!("{}: {error}", self.name);
        }
        Ok(serde_json::from_value(answer)?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The server ends when its input does.
        self.requests = None;
        // Nothing is left to do if it does not.
        let _ = self.process.wait();
    }
}
