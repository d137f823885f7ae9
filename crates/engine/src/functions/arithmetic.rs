//! `+ - * / % div` and their `try_` forms, as Spark has them with ANSI on: what does not fit is an error that shows the
//! operands, or NULL.
//!
//! Data flow: the planner rule ([`super::planner`]) puts these functions in place of the operators whose native form
//! would wrap or divide by zero; floats, and decimals that cannot overflow, keep the native operator.
//!
//! Invariant: no result is wrapped, and no decimal has more digits than its type.

use std::{fmt::Display, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray},
        datatypes::{
            ArrowNativeTypeOp, DataType, Decimal128Type, DecimalType, Float32Type, Float64Type, Int8Type, Int16Type,
            Int32Type, Int64Type, i256,
        },
    },
    common::{exec_datafusion_err, plan_err},
    error::{DataFusionError, Result},
    logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use super::native::{invoke_kernel, is_text};

/// An arithmetic operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    /// Of two integers it gives a double.
    Divide,
    /// Has the sign of the dividend.
    Remainder,
    /// Has the sign of the divisor if it is negative, else none.
    PositiveRemainder,
    /// Integer division, towards zero.
    IntegerDivide,
}

impl Operation {
    fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::PositiveRemainder => "pmod",
            Self::IntegerDivide => "div",
        }
    }

    fn divides(self) -> bool {
        matches!(self, Self::Divide | Self::Remainder | Self::PositiveRemainder | Self::IntegerDivide)
    }
}

/// An operator as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Arithmetic {
    name: &'static str,
    operation: Operation,
    /// NULL in place of an error.
    tolerant: bool,
    signature: Signature,
}

impl Arithmetic {
    fn udf(name: &'static str, operation: Operation, tolerant: bool) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Self { name, operation, tolerant, signature }))
    }
}

/// The function that stands for an operator in plans.
pub(super) fn checked(operation: Operation) -> Arc<ScalarUDF> {
    let name = match operation {
        Operation::Add => "checked_add",
        Operation::Subtract => "checked_subtract",
        Operation::Multiply => "checked_multiply",
        Operation::Divide => "checked_divide",
        Operation::Remainder => "mod",
        Operation::PositiveRemainder => "pmod",
        Operation::IntegerDivide => "div",
    };
    Arithmetic::udf(name, operation, false)
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Operation::{Add, Divide, IntegerDivide, Multiply, PositiveRemainder, Remainder, Subtract};
    let mut functions: Vec<_> =
        [Add, Subtract, Multiply, Divide, Remainder, PositiveRemainder, IntegerDivide].map(checked).into();
    functions.extend([
        Arithmetic::udf("try_add", Add, true),
        Arithmetic::udf("try_subtract", Subtract, true),
        Arithmetic::udf("try_multiply", Multiply, true),
        Arithmetic::udf("try_divide", Divide, true),
        Arithmetic::udf("try_mod", Remainder, true),
    ]);
    functions
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [left, right] if self.name.starts_with("checked_") => {
                Ok(format!("{} {} {}", left.schema_name(), self.operation.symbol(), right.schema_name()))
            }
            _ => {
                let args: Vec<_> = args.iter().map(|argument| argument.schema_name().to_string()).collect();
                Ok(format!("{}({})", self.name, args.join(",")))
            }
        }
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = given else { return plan_err!("{} takes 2 arguments, not {}", self.name, given.len()) };
        match operand_types(self.operation, left, right) {
            Some((left, right)) => Ok(vec![left, right]),
            None => plan_err!("cannot compute {left} {} {right}", self.operation.symbol()),
        }
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        match given {
            [DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)] => {
                Ok(decimal_result(self.operation, (*p1, *s1), (*p2, *s2)))
            }
            [left, _] => Ok(left.clone()),
            _ => plan_err!("{} takes 2 arguments", self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let returns = args.return_type().clone();
        invoke_kernel(&args, |operands| match operands {
            [left, right] => self.compute(left, right, &returns),
            _ => Err(exec_datafusion_err!("{} takes 2 arguments", self.name)),
        })
    }
}

/// The types that the operands are cast to: the wider one, doubles for `/`, `BIGINT` for `div`.
fn operand_types(operation: Operation, left: &DataType, right: &DataType) -> Option<(DataType, DataType)> {
    use DataType::{Decimal128, Float32, Float64, Int64, Null};
    let one = |data_type: DataType| Some((data_type.clone(), data_type));
    let number = |side: &DataType| side.is_numeric() || is_text(side) || side == &Null;
    if !number(left) || !number(right) {
        return None;
    }
    if operation == Operation::IntegerDivide {
        let fits = |side: &DataType| side.is_integer() || is_text(side) || side == &Null;
        return if fits(left) && fits(right) { one(Int64) } else { None };
    }
    if let Some((left, right)) = decimal_operands(left, right) {
        return Some((left, right));
    }
    match (left, right) {
        (Float32, Float32 | Null) | (Null, Float32) => {
            one(if operation == Operation::Divide { Float64 } else { Float32 })
        }
        _ if left.is_floating() || right.is_floating() || operation == Operation::Divide => one(Float64),
        (Decimal128(..), _) | (_, Decimal128(..)) => one(Float64),
        _ => one(wider_integer(left, right)),
    }
}

/// Both sides as decimals, if one is a decimal and the other a decimal, an integer or NULL.
fn decimal_operands(left: &DataType, right: &DataType) -> Option<(DataType, DataType)> {
    let is_decimal = |side: &DataType| matches!(side, DataType::Decimal128(..));
    if !is_decimal(left) && !is_decimal(right) {
        return None;
    }
    let as_decimal = |side: &DataType, other: &DataType| match side {
        DataType::Decimal128(..) => Some(side.clone()),
        DataType::Null => Some(other.clone()),
        DataType::Int8 => Some(DataType::Decimal128(3, 0)),
        DataType::Int16 | DataType::UInt8 => Some(DataType::Decimal128(5, 0)),
        DataType::Int32 | DataType::UInt16 => Some(DataType::Decimal128(10, 0)),
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Some(DataType::Decimal128(20, 0)),
        _ => None,
    };
    Some((as_decimal(left, right)?, as_decimal(right, left)?))
}

fn wider_integer(left: &DataType, right: &DataType) -> DataType {
    let rank = |side: &DataType| match side {
        DataType::Null => 0,
        DataType::Int8 => 1,
        DataType::Int16 | DataType::UInt8 => 2,
        DataType::Int32 | DataType::UInt16 => 3,
        _ => 4,
    };
    match rank(left).max(rank(right)) {
        1 => DataType::Int8,
        2 => DataType::Int16,
        3 => DataType::Int32,
        _ => DataType::Int64,
    }
}

/// Spark's result type of an operator on decimals.
pub(super) fn decimal_result(operation: Operation, left: (u8, i8), right: (u8, i8)) -> DataType {
    let ((p1, s1), (p2, s2)) = ((i32::from(left.0), i32::from(left.1)), (i32::from(right.0), i32::from(right.1)));
    let (precision, scale) = match operation {
        Operation::Add | Operation::Subtract => ((p1 - s1).max(p2 - s2) + s1.max(s2) + 1, s1.max(s2)),
        Operation::Multiply => (p1 + p2 + 1, s1 + s2),
        Operation::Divide => {
            let scale = (s1 + p2 + 1).max(6);
            (p1 - s1 + s2 + scale, scale)
        }
        _ => ((p1 - s1).min(p2 - s2) + s1.max(s2), s1.max(s2)),
    };
    let max = i32::from(Decimal128Type::MAX_PRECISION);
    // Beyond 38 digits Spark keeps the integer part and gives up fraction digits, down to six.
    let (precision, scale) =
        if precision <= max { (precision, scale) } else { (max, (max - (precision - scale)).max(scale.min(6))) };
    DataType::Decimal128(u8::try_from(precision).unwrap_or(38), i8::try_from(scale).unwrap_or(0))
}

impl Arithmetic {
    fn compute(&self, left: &ArrayRef, right: &ArrayRef, returns: &DataType) -> Result<ArrayRef> {
        match left.data_type() {
            DataType::Int8 => self.integers::<Int8Type>(left, right),
            DataType::Int16 => self.integers::<Int16Type>(left, right),
            DataType::Int32 => self.integers::<Int32Type>(left, right),
            DataType::Int64 => self.integers::<Int64Type>(left, right),
            DataType::Float32 => self.floats::<Float32Type>(left, right),
            DataType::Float64 => self.floats::<Float64Type>(left, right),
            DataType::Decimal128(..) => self.decimals(left, right, returns),
            other => Err(exec_datafusion_err!("cannot compute {other} {} {other}", self.operation.symbol())),
        }
    }

    fn integers<T: ArrowPrimitiveType>(&self, left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef>
    where
        T::Native: ArrowNativeTypeOp + Display,
    {
        let zero = T::Native::ZERO;
        match self.operation {
            Operation::Add => self.each::<T>(left, right, |a, b| a.add_checked(b).ok()),
            Operation::Subtract => self.each::<T>(left, right, |a, b| a.sub_checked(b).ok()),
            Operation::Multiply => self.each::<T>(left, right, |a, b| a.mul_checked(b).ok()),
            // The smallest integer by -1 has no remainder, and the checked form calls that an overflow.
            Operation::Remainder => self.each::<T>(left, right, |a, b| (b != zero).then(|| a.mod_wrapping(b))),
            Operation::PositiveRemainder => self.each::<T>(left, right, |a, b| {
                (b != zero).then(|| {
                    let rest = a.mod_wrapping(b);
                    if rest < zero { rest.add_wrapping(b).mod_wrapping(b) } else { rest }
                })
            }),
            Operation::Divide | Operation::IntegerDivide => {
                self.each::<T>(left, right, |a, b| if b == zero { None } else { a.div_checked(b).ok() })
            }
        }
    }

    fn floats<T: ArrowPrimitiveType>(&self, left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef>
    where
        T::Native: ArrowNativeTypeOp + Display,
    {
        let zero = T::Native::ZERO;
        // Negative zero compares unequal to zero in Arrow's total order.
        let is_zero = |b: T::Native| b == zero || b == zero.neg_wrapping();
        match self.operation {
            Operation::Add => self.each::<T>(left, right, |a, b| Some(a.add_wrapping(b))),
            Operation::Subtract => self.each::<T>(left, right, |a, b| Some(a.sub_wrapping(b))),
            Operation::Multiply => self.each::<T>(left, right, |a, b| Some(a.mul_wrapping(b))),
            Operation::Remainder => self.each::<T>(left, right, |a, b| (!is_zero(b)).then(|| a.mod_wrapping(b))),
            Operation::PositiveRemainder => self.each::<T>(left, right, |a, b| {
                (!is_zero(b)).then(|| {
                    let rest = a.mod_wrapping(b);
                    if rest < zero { rest.add_wrapping(b).mod_wrapping(b) } else { rest }
                })
            }),
            Operation::Divide | Operation::IntegerDivide => {
                self.each::<T>(left, right, |a, b| (!is_zero(b)).then(|| a.div_wrapping(b)))
            }
        }
    }

    /// Applies `operation` to the valid pairs; what it refuses is an error, or NULL in the tolerant form.
    fn each<T: ArrowPrimitiveType>(
        &self,
        left: &ArrayRef,
        right: &ArrayRef,
        operation: impl Fn(T::Native, T::Native) -> Option<T::Native>,
    ) -> Result<ArrayRef>
    where
        T::Native: ArrowNativeTypeOp + Display,
    {
        let (left, right) = (left.as_primitive::<T>(), right.as_primitive::<T>());
        let result: PrimitiveArray<T> = if self.tolerant {
            let pairs = left.iter().zip(right.iter());
            pairs.map(|(a, b)| a.zip(b).and_then(|(a, b)| operation(a, b))).collect()
        } else {
            try_each(left, right, |a, b| {
                operation(a, b).ok_or_else(|| {
                    let is_zero =
                        self.operation.divides() && (b == T::Native::ZERO || b == T::Native::ZERO.neg_wrapping());
                    self.failure(is_zero, "integer", &a, &b)
                })
            })?
        };
        Ok(Arc::new(result))
    }

    fn decimals(&self, left: &ArrayRef, right: &ArrayRef, returns: &DataType) -> Result<ArrayRef> {
        let (DataType::Decimal128(_, s1), DataType::Decimal128(_, s2), DataType::Decimal128(precision, scale)) =
            (left.data_type(), right.data_type(), returns)
        else {
            return Err(exec_datafusion_err!("{} needs decimals on both sides", self.operation.symbol()));
        };
        let (s1, s2, precision, scale) = (*s1, *s2, *precision, *scale);
        let (left, right) = (left.as_primitive::<Decimal128Type>(), right.as_primitive::<Decimal128Type>());
        let operation = |a: i128, b: i128| {
            decimal_value(self.operation, (a, s1), (b, s2), scale)
                .filter(|value| Decimal128Type::is_valid_decimal_precision(*value, precision))
        };
        let result: PrimitiveArray<Decimal128Type> = if self.tolerant {
            let pairs = left.iter().zip(right.iter());
            pairs.map(|(a, b)| a.zip(b).and_then(|(a, b)| operation(a, b))).collect()
        } else {
            try_each(left, right, |a, b| {
                operation(a, b).ok_or_else(|| {
                    let show =
                        |value, scale| Decimal128Type::format_decimal(value, Decimal128Type::MAX_PRECISION, scale);
                    self.failure(self.operation.divides() && b == 0, "decimal", &show(a, s1), &show(b, s2))
                })
            })?
        };
        Ok(Arc::new(result.with_data_type(returns.clone())))
    }

    fn failure(&self, by_zero: bool, what: &str, left: &dyn Display, right: &dyn Display) -> DataFusionError {
        let symbol = self.operation.symbol();
        if by_zero {
            exec_datafusion_err!("division by zero: {left} {symbol} {right}")
        } else {
            exec_datafusion_err!("{what} overflow: {left} {symbol} {right}")
        }
    }
}

fn try_each<T: ArrowPrimitiveType>(
    left: &PrimitiveArray<T>,
    right: &PrimitiveArray<T>,
    operation: impl Fn(T::Native, T::Native) -> Result<T::Native>,
) -> Result<PrimitiveArray<T>> {
    if left.null_count() + right.null_count() == 0 {
        let pairs = left.values().iter().zip(right.values());
        let values = pairs.map(|(&a, &b)| operation(a, b)).collect::<Result<Vec<_>>>()?;
        return Ok(PrimitiveArray::new(values.into(), None));
    }
    left.iter().zip(right.iter()).map(|(a, b)| a.zip(b).map(|(a, b)| operation(a, b)).transpose()).collect()
}

/// The exact result, rounded half up to `scale` digits; `None` if it does not fit or is a division by zero.
fn decimal_value(operation: Operation, left: (i128, i8), right: (i128, i8), scale: i8) -> Option<i128> {
    let (a, s1) = (i256::from_i128(left.0), i32::from(left.1));
    let (b, s2) = (i256::from_i128(right.0), i32::from(right.1));
    let scale = i32::from(scale);
    let value = match operation {
        Operation::Multiply => rescale(a.checked_mul(b)?, s1 + s2, scale)?,
        Operation::Divide => {
            // a / 10^s1 divided by b / 10^s2, in units of 10^-scale.
            let shift = scale - s1 + s2;
            let (dividend, divisor) = if shift >= 0 {
                (a.checked_mul(power_of_ten(shift)?)?, b)
            } else {
                (a, b.checked_mul(power_of_ten(-shift)?)?)
            };
            divide_half_up(dividend, divisor)?
        }
        _ => {
            let common = s1.max(s2);
            let (a, b) = (rescale(a, s1, common)?, rescale(b, s2, common)?);
            let exact = match operation {
                Operation::Add => a.checked_add(b)?,
                Operation::Subtract => a.checked_sub(b)?,
                Operation::PositiveRemainder => {
                    let rest = a.checked_rem(b)?;
                    if rest < i256::ZERO { rest.checked_add(b)?.checked_rem(b)? } else { rest }
                }
                Operation::IntegerDivide => a.checked_div(b)?.checked_mul(power_of_ten(common)?)?,
                _ => a.checked_rem(b)?,
            };
            rescale(exact, common, scale)?
        }
    };
    value.to_i128()
}

fn rescale(value: i256, from: i32, to: i32) -> Option<i256> {
    if to >= from {
        value.checked_mul(power_of_ten(to - from)?)
    } else {
        divide_half_up(value, power_of_ten(from - to)?)
    }
}

fn power_of_ten(exponent: i32) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::try_from(exponent).ok()?)
}

/// Half away from zero.
fn divide_half_up(dividend: i256, divisor: i256) -> Option<i256> {
    let quotient = dividend.checked_div(divisor)?;
    let rest = dividend.checked_rem(divisor)?;
    let doubled = rest.wrapping_abs().checked_mul(i256::from_i128(2))?;
    if doubled < divisor.wrapping_abs() {
        return Some(quotient);
    }
    let negative = (dividend < i256::ZERO) != (divisor < i256::ZERO);
    quotient.checked_add(i256::from_i128(if negative { -1 } else { 1 }))
}
