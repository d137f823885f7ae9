//! Scalar functions told as a table: name, parameters, result type and kernel.
//!
//! Data flow: the families beside this file list [`Native`] functions -> the registry -> the planner casts the arguments
//! to the parameters' types as Spark would, so a kernel sees exactly the types that its function lists.
//!
//! Invariant: a kernel gives as many values as it is given, of the listed result type.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::ArrayRef,
        datatypes::{DataType, TimeUnit},
    },
    common::{ScalarValue, plan_err},
    error::Result,
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        interval_arithmetic::Interval, preimage::PreimageResult, simplify::SimplifyContext,
    },
};

/// Arguments of equal length, of the parameters' types; fewer than the parameters if the last ones were left out.
pub(super) type Kernel = fn(&[ArrayRef]) -> Result<ArrayRef>;

/// The arguments for which a growing function of one argument gives a value: the first, and the one after the last.
/// `None` if there are none, or they cannot be told.
pub(super) type Preimage = fn(&ScalarValue) -> Option<(ScalarValue, ScalarValue)>;

/// An instant: microseconds, UTC.
pub(super) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

/// What a parameter takes; anything that Spark would cast without being asked is cast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    Text,
    Int,
    Bigint,
    Double,
    Date,
    Timestamp,
    /// A date or an instant; text is read as an instant.
    Moment,
    /// Whatever it is.
    Any,
}

impl Parameter {
    /// The type that an argument of type `given` is cast to; `None` if it does not fit.
    fn target(self, given: &DataType) -> Option<DataType> {
        use DataType::{Date32, Date64, Null};
        let text = is_text(given) || given == &Null;
        let (target, fits) = match self {
            Self::Any => return Some(given.clone()),
            Self::Text => (DataType::Utf8, text || !(given.is_nested() || is_binary(given))),
            Self::Int => (DataType::Int32, text || given.is_integer()),
            Self::Bigint => (DataType::Int64, text || given.is_integer()),
            Self::Double => (DataType::Float64, text || given.is_numeric()),
            Self::Date => (Date32, text || matches!(given, Date32 | Date64 | DataType::Timestamp(..))),
            Self::Moment if given == &Date32 => (Date32, true),
            Self::Timestamp | Self::Moment => {
                (timestamp_type(), text || matches!(given, Date32 | Date64 | DataType::Timestamp(..)))
            }
        };
        fits.then_some(target)
    }
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
}

/// One function of the table.
#[derive(Debug)]
pub(super) struct Native {
    name: &'static str,
    aliases: Vec<String>,
    parameters: Vec<Parameter>,
    required: usize,
    returns: DataType,
    kernel: Kernel,
    preimage: Option<Preimage>,
    signature: Signature,
}

impl Native {
    /// A function whose parameters must all be given.
    pub(super) fn new(name: &'static str, parameters: &[Parameter], returns: DataType, kernel: Kernel) -> Self {
        Self {
            name,
            aliases: Vec::new(),
            parameters: parameters.to_vec(),
            required: parameters.len(),
            returns,
            kernel,
            preimage: None,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    /// Lets the last `count` parameters be left out.
    pub(super) fn optional(mut self, count: usize) -> Self {
        self.required = self.required.saturating_sub(count);
        self
    }

    /// Other names of the function.
    pub(super) fn alias(mut self, names: &[&str]) -> Self {
        self.aliases = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Lets comparisons of the function with a constant become comparisons of its argument: of columns there are bounds.
    pub(super) fn with_preimage(mut self, preimage: Preimage) -> Self {
        self.preimage = Some(preimage);
        self
    }

    /// Makes the function ready for the registry.
    pub(super) fn udf(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(self))
    }
}

impl PartialEq for Native {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Native {}

impl Hash for Native {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Native {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        if given.len() < self.required || given.len() > self.parameters.len() {
            let wanted = if self.required == self.parameters.len() {
                self.required.to_string()
            } else {
                format!("{} to {}", self.required, self.parameters.len())
            };
            return plan_err!("{} takes {wanted} arguments, not {}", self.name, given.len());
        }
        let mut targets = Vec::with_capacity(given.len());
        for (index, (parameter, given)) in self.parameters.iter().zip(given).enumerate() {
            let Some(target) = parameter.target(given) else {
                return plan_err!("{} takes {parameter:?} as argument {}, not {given}", self.name, index + 1);
            };
            targets.push(target);
        }
        Ok(targets)
    }

    fn return_type(&self, _given: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        invoke_kernel(&args, self.kernel)
    }

    fn preimage(&self, args: &[Expr], value: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        let (Some(preimage), [argument], Some(value)) = (self.preimage, args, value.as_literal()) else {
            return Ok(PreimageResult::None);
        };
        let Some((from, to)) = preimage(value) else { return Ok(PreimageResult::None) };
        if info.get_data_type(argument)? != from.data_type() {
            return Ok(PreimageResult::None);
        }
        Ok(PreimageResult::Range { expr: argument.clone(), interval: Box::new(Interval::try_new(from, to)?) })
    }
}

/// Runs a kernel over columns, or over one row if all arguments are constants.
pub(super) fn invoke_kernel(
    args: &ScalarFunctionArgs,
    kernel: impl FnOnce(&[ArrayRef]) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let is_constant = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
    let rows = if is_constant { 1 } else { args.number_rows };
    let arrays = args.args.iter().map(|argument| argument.to_array(rows)).collect::<Result<Vec<_>>>()?;
    let result = kernel(&arrays)?;
    if is_constant {
        Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?))
    } else {
        Ok(ColumnarValue::Array(result))
    }
}

/// A function of another library whose result is adapted: its type, or what it gives for a row.
#[derive(Debug)]
pub(super) struct Adapted {
    inner: Arc<ScalarUDF>,
    aliases: Vec<String>,
    returns: DataType,
    /// From the arguments and what the inner function gives for them.
    adapt: fn(&[ArrayRef], ArrayRef) -> Result<ArrayRef>,
}

impl Adapted {
    /// Makes the function ready for the registry, under the inner function's name.
    pub(super) fn udf(
        inner: Arc<ScalarUDF>,
        returns: DataType,
        adapt: fn(&[ArrayRef], ArrayRef) -> Result<ArrayRef>,
    ) -> Arc<ScalarUDF> {
        let aliases = inner.aliases().to_vec();
        Arc::new(ScalarUDF::new_from_impl(Self { inner, aliases, returns, adapt }))
    }
}

impl PartialEq for Adapted {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Adapted {}

impl Hash for Adapted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Adapted {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(given)
    }

    fn return_type(&self, _given: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        invoke_kernel(&args, |arrays| {
            let rows = arrays.first().map_or(1, |array| array.len());
            let inner_args = ScalarFunctionArgs {
                args: arrays.iter().map(|array| ColumnarValue::Array(Arc::clone(array))).collect(),
                number_rows: rows,
                ..args.clone()
            };
            let result = self.inner.inner().invoke_with_args(inner_args)?.into_array(rows)?;
            (self.adapt)(arrays, result)
        })
    }
}
