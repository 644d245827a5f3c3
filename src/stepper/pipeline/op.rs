//! The maps of an equation that the pipeline evaluates, resolved at compile time.

use crate::pde::{Pde, Wave};
use crate::spectral::simd::{Complex, Lanes};

/// Counts and per-group maps of one [`super::Map`]; by default those of the nonlinear term.
pub(super) trait Op<P: Pde>: Copy + Send + Sync {
    const FIELDS: usize;
    const PRODUCTS: usize;
    const FORCED: bool = false;

    /// Whether the second input is read.
    const TWO_INPUTS: bool = false;

    /// The fields of the state.
    #[inline(always)]
    fn build<V: Lanes>(self, pde: &P, wave: &Wave<V>, u: &[Complex<V>], _v: &[Complex<V>], fields: &mut [Complex<V>]) {
        pde.fields(wave, u, fields);
    }

    /// Their products.
    #[inline(always)]
    fn pointwise<V: Lanes>(self, pde: &P, fields: &[V], products: &mut [V]) {
        pde.products(fields, products);
    }

    /// The tendency.
    #[inline(always)]
    fn finish<V: Lanes>(self, pde: &P, wave: &Wave<V>, products: &[Complex<V>], out: &mut [Complex<V>]) {
        pde.tendency(wave, products, out);
    }
}

#[derive(Clone, Copy)]
pub(super) struct NonlinearOp;
#[derive(Clone, Copy)]
pub(super) struct TangentOp;
#[derive(Clone, Copy)]
pub(super) struct AdjointOp;
#[derive(Clone, Copy)]
pub(super) struct ParameterOp(pub usize);

impl<P: Pde> Op<P> for NonlinearOp {
    const FIELDS: usize = P::FIELDS;
    const PRODUCTS: usize = P::PRODUCTS;
    const FORCED: bool = true;
}

impl<P: Pde> Op<P> for TangentOp {
    const FIELDS: usize = 2 * P::FIELDS;
    const PRODUCTS: usize = P::PRODUCTS;
    const TWO_INPUTS: bool = true;

    #[inline(always)]
    fn build<V: Lanes>(self, pde: &P, wave: &Wave<V>, u: &[Complex<V>], v: &[Complex<V>], fields: &mut [Complex<V>]) {
        let (base, tangent) = fields.split_at_mut(P::FIELDS);
        pde.fields(wave, u, base);
        pde.fields(wave, v, tangent);
    }

    #[inline(always)]
    fn pointwise<V: Lanes>(self, pde: &P, fields: &[V], products: &mut [V]) {
        let (base, tangent) = fields.split_at(P::FIELDS);
        pde.products_jvp(base, tangent, products);
    }
}

impl<P: Pde> Op<P> for AdjointOp {
    const FIELDS: usize = P::FIELDS + P::PRODUCTS;
    const PRODUCTS: usize = P::FIELDS;
    const TWO_INPUTS: bool = true;

    #[inline(always)]
    fn build<V: Lanes>(self, pde: &P, wave: &Wave<V>, u: &[Complex<V>], v: &[Complex<V>], fields: &mut [Complex<V>]) {
        let (base, cotangent) = fields.split_at_mut(P::FIELDS);
        pde.fields(wave, u, base);
        pde.tendency_adjoint(wave, v, cotangent);
    }

    #[inline(always)]
    fn pointwise<V: Lanes>(self, pde: &P, fields: &[V], products: &mut [V]) {
        let (base, cotangent) = fields.split_at(P::FIELDS);
        pde.products_vjp(base, cotangent, products);
    }

    #[inline(always)]
    fn finish<V: Lanes>(self, pde: &P, wave: &Wave<V>, products: &[Complex<V>], out: &mut [Complex<V>]) {
        pde.fields_adjoint(wave, products, out);
    }
}

impl<P: Pde> Op<P> for ParameterOp {
    const FIELDS: usize = P::FIELDS;
    const PRODUCTS: usize = P::PRODUCTS;

    #[inline(always)]
    fn finish<V: Lanes>(self, pde: &P, wave: &Wave<V>, products: &[Complex<V>], out: &mut [Complex<V>]) {
        pde.tendency_derivative(self.0, wave, products, out);
    }
}
