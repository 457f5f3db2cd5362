//! The kernels of expressions compile on every platform.

use super::kinds::Input;
use super::*;
use crate::ops::elementwise::check_texts;
use crate::ops::{binary, compare, unary};

/// Checks the kernels of an expression for some dtypes of its inputs. Returns whether the expression is defined for them.
fn check<const N: usize>(name: &str, fused: &Fused<N>, dtypes: [DType; N]) -> bool {
    let inputs = dtypes.map(|dtype| Input { dtype, is_scalar: false });
    let Ok(kinds) = kinds::of("test", &fused.graph.nodes, &inputs) else { return false };
    let computation = Computation::Expression(&fused.graph, &kinds);
    check_texts(&format!("{name} of {dtypes:?}"), computation, &dtypes, fused.dtype(&kinds), fused.constants.len());
    true
}

/// The dtypes of three inputs: of one dtype, and mixed.
fn dtypes() -> Vec<[DType; 3]> {
    use DType::{F16, F32, I32, U32};
    DType::ALL.map(|dtype| [dtype; 3]).into_iter().chain([[F16, F32, I32], [U32, F32, F16], [I32, F16, I32]]).collect()
}

#[test]
fn every_operation_compiles_within_an_expression() {
    let mut count = 0;
    for operation in unary::ALL {
        let fused = fuse(|[x, y, z]| (x.apply(operation) + y).apply(operation) * z);
        count += dtypes().into_iter().filter(|&dtypes| check(operation.name, &fused, dtypes)).count();
    }
    for operation in binary::ALL {
        let fused = fuse(|[x, y, z]| x.apply_to(operation, y).apply_to(operation, z.apply_to(operation, x)));
        count += dtypes().into_iter().filter(|&dtypes| check(operation.name, &fused, dtypes)).count();
    }
    for operation in compare::ALL {
        let fused = fuse(|[x, y, z]| {
            let (one, other) = (x.apply_to(operation, y), y.apply_to(operation, z));
            (one & other | !one).select(((one | other) & !(one & x)).select(x, z), y)
        });
        count += dtypes().into_iter().filter(|&dtypes| check(operation.name, &fused, dtypes)).count();
    }
    assert!(count > 200, "{count}");
}

#[test]
fn random_expressions_compile() {
    let mut count = 0;
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let fused = fuse(|inputs: [Expression<'_>; 3]| {
            let mut values = inputs.to_vec();
            for _ in 0..16 {
                let [x, y, z] = [0; 3].map(|_| values[random.usize(..values.len())]);
                values.push(match random.u32(..8) {
                    0 => x.apply(unary::ALL[random.usize(..unary::ALL.len())]),
                    1 => x.apply_to(compare::ALL[random.usize(..compare::ALL.len())], y).select(y, z),
                    2 => (x & y | !z).select(z, x),
                    3 => x.apply_to(&binary::ADD, 0.5_f32),
                    _ => x.apply_to(binary::ALL[random.usize(..binary::ALL.len())], y),
                });
            }
            values.into_iter().reduce(|sum, value| sum + value).expect("there are inputs")
        });
        count += dtypes().into_iter().filter(|&dtypes| check(&format!("seed {seed}"), &fused, dtypes)).count();
    }
    assert!(count > 20, "{count}");
}

#[test]
fn an_expression_with_many_constants_compiles() {
    let fused = fuse(|[x, y, z]| (0..80_u16).fold(x * y, |sum, number| sum * z + f32::from(number)));
    assert!(fused.constants.len() > 64, "they are a binding");
    assert!(dtypes().into_iter().all(|dtypes| check("constants", &fused, dtypes)));
}
