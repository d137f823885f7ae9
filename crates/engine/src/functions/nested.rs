//! Arrays and maps: Spark's functions.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, ListArray, UInt64Builder, make_comparator},
        buffer::OffsetBuffer,
        compute::{SortOptions, cast, sort_to_indices, take},
        datatypes::{DataType, Int64Type},
    },
    common::{exec_datafusion_err, exec_err, plan_err},
    error::Result,
    functions_nested::{
        position::array_position_udf,
        range::{gen_series_udf, range_udf},
        remove::array_remove_all_udf,
    },
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use super::native::{Adapted, Native, Parameter::Any, invoke_kernel};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        element_or_error(),
        Element::udf("get", Start::Zero, Missing::Null),
        Element::udf("element_at", Start::One, Missing::Error),
        Element::udf("try_element_at", Start::One, Missing::Null),
        Native::new("size", &[Any], DataType::Int32, sizes).alias(&["cardinality", "array_size"]).udf(),
        // All that are equal, as in Spark.
        Arc::new(array_remove_all_udf().as_ref().clone().with_aliases(["array_remove"])),
        Adapted::udf(array_position_udf(), DataType::Int64, position_or_zero),
        SortArray::udf("sort_array", Nulls::Least),
        SortArray::udf("array_sort", Nulls::Last),
        BoundedSeries::udf(gen_series_udf()),
        BoundedSeries::udf(range_udf()),
    ]
}

/// Values that one call may make for a batch: a gigabyte of them. No memory limit counts them while they are made.
const SERIES_VALUES_MAX: u128 = (1 << 30) / 8;

/// A series of numbers that is an error, instead of the end of the process, if it has far too many of them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct BoundedSeries {
    native: Arc<ScalarUDF>,
}

impl BoundedSeries {
    fn udf(native: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Self { native }))
    }

    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        if args.args.iter().any(|argument| argument.data_type() != DataType::Int64) {
            return Ok(());
        }
        let is_constant = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|argument| argument.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let value = |column: usize, row: usize| {
            let numbers = arrays.get(column)?.as_primitive::<Int64Type>();
            numbers.is_valid(row).then(|| i128::from(numbers.value(row)))
        };
        let count = |row: usize| {
            let (start, stop) = if arrays.len() == 1 { (0, value(0, row)?) } else { (value(0, row)?, value(1, row)?) };
            let step = if arrays.len() > 2 { value(2, row)? } else { 1 };
            u128::try_from((stop - start).checked_div(step)?).ok()
        };
        let values: u128 = (0..rows).filter_map(count).sum();
        if values > SERIES_VALUES_MAX {
            return exec_err!(
                "{} would make {values} values for {rows} rows at once, more than {SERIES_VALUES_MAX}: make shorter series, \
                 or series of fewer rows",
                self.name()
            );
        }
        Ok(())
    }
}

impl ScalarUDFImpl for BoundedSeries {
    fn name(&self) -> &str {
        self.native.name()
    }

    fn aliases(&self) -> &[String] {
        self.native.aliases()
    }

    fn signature(&self) -> &Signature {
        self.native.signature()
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        self.native.return_type(given)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        self.native.invoke_with_args(args)
    }
}

/// `array[index]`, counted from 0.
pub(super) fn element_or_error() -> Arc<ScalarUDF> {
    Element::udf("get_or_error", Start::Zero, Missing::Error)
}

/// What the first element's index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Start {
    /// Negative ones do not exist.
    Zero,
    /// Negative ones count from the end.
    One,
}

/// What an index beyond the array gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Missing {
    Null,
    Error,
}

/// The element of an array at an index, or the value of a map at a key (NULL if it has none).
#[derive(Debug, PartialEq, Eq, Hash)]
struct Element {
    name: &'static str,
    start: Start,
    missing: Missing,
    signature: Signature,
}

impl Element {
    fn udf(name: &'static str, start: Start, missing: Missing) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Self { name, start, missing, signature }))
    }

    fn take_from_lists(&self, lists: &ListArray, indexes: &Int64Array) -> Result<ArrayRef> {
        let mut places = UInt64Builder::with_capacity(lists.len());
        for row in 0..lists.len() {
            if lists.is_null(row) || indexes.is_null(row) {
                places.append_null();
                continue;
            }
            let (index, length) = (indexes.value(row), i64::from(lists.value_length(row)));
            let place = match self.start {
                Start::Zero => index,
                Start::One if index < 0 => length + index,
                Start::One if index == 0 => return Err(exec_datafusion_err!("{} counts from 1, not 0", self.name)),
                Start::One => index - 1,
            };
            if (0..length).contains(&place) {
                places.append_option(u64::try_from(i64::from(lists.value_offsets()[row]) + place).ok());
            } else if self.missing == Missing::Null {
                places.append_null();
            } else {
                return Err(exec_datafusion_err!("the index {index} is outside of an array of {length} elements"));
            }
        }
        Ok(take(lists.values(), &places.finish(), None)?)
    }
}

impl ScalarUDFImpl for Element {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [DataType::Map(entries, sorted), _] if self.start == Start::One => {
                let DataType::Struct(fields) = entries.data_type() else {
                    return plan_err!("a map has entries of a key and a value");
                };
                let key = fields.first().map_or(DataType::Null, |key| key.data_type().clone());
                Ok(vec![DataType::Map(Arc::clone(entries), *sorted), key])
            }
            [DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _), index]
                if index.is_integer() || index == &DataType::Null =>
            {
                Ok(vec![DataType::List(Arc::clone(item)), DataType::Int64])
            }
            [_, _] => plan_err!("{} takes an array and an integer, not {} and {}", self.name, given[0], given[1]),
            _ => plan_err!("{} takes 2 arguments, not {}", self.name, given.len()),
        }
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        match given.first() {
            Some(DataType::List(item)) => Ok(item.data_type().clone()),
            Some(DataType::Map(entries, _)) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => Ok(fields[1].data_type().clone()),
                _ => plan_err!("a map has entries of a key and a value"),
            },
            _ => plan_err!("{} takes an array or a map", self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        invoke_kernel(&args, |arrays| match arrays[0].data_type() {
            DataType::Map(..) => map_values_at(&arrays[0], &arrays[1]),
            _ => self.take_from_lists(arrays[0].as_list::<i32>(), arrays[1].as_primitive::<Int64Type>()),
        })
    }
}

fn map_values_at(maps: &ArrayRef, keys: &ArrayRef) -> Result<ArrayRef> {
    let maps = maps.as_map();
    let compare = make_comparator(maps.keys(), keys, SortOptions::default())?;
    let offsets = maps.value_offsets();
    let places = (0..maps.len()).map(|row| {
        if maps.is_null(row) || keys.is_null(row) {
            return None;
        }
        let range = usize::try_from(offsets[row]).ok()?..usize::try_from(offsets[row + 1]).ok()?;
        range.into_iter().find(|&place| compare(place, row).is_eq()).and_then(|place| i32::try_from(place).ok())
    });
    let places = places.collect::<Int32Array>();
    Ok(take(maps.values(), &cast(&places, &DataType::Int32)?, None)?)
}

/// How many elements or entries.
fn sizes(args: &[ArrayRef]) -> Result<ArrayRef> {
    let lengths: Int32Array = match args[0].data_type() {
        DataType::Null => Int32Array::new_null(args[0].len()),
        DataType::Map(..) => {
            let maps = args[0].as_map();
            (0..maps.len()).map(|row| maps.is_valid(row).then(|| maps.value_length(row))).collect()
        }
        DataType::List(_) => {
            let lists = args[0].as_list::<i32>();
            (0..lists.len()).map(|row| lists.is_valid(row).then(|| lists.value_length(row))).collect()
        }
        other => return Err(exec_datafusion_err!("size takes an array or a map, not {other}")),
    };
    Ok(Arc::new(lengths))
}

/// 0 for an element that is not there.
fn position_or_zero(args: &[ArrayRef], positions: ArrayRef) -> Result<ArrayRef> {
    let positions = cast(&positions, &DataType::Int64)?;
    let known = |row: usize| args.iter().all(|argument| argument.is_valid(row));
    let positions = positions.as_primitive::<Int64Type>().iter().enumerate();
    let positions: Int64Array = positions.map(|(row, position)| known(row).then(|| position.unwrap_or(0))).collect();
    Ok(Arc::new(positions))
}

/// Where NULLs go in a sorted array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Nulls {
    /// First if ascending, last if descending.
    Least,
    Last,
}

/// `sort_array(array [, ascending])` and `array_sort(array)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SortArray {
    name: &'static str,
    nulls: Nulls,
    signature: Signature,
}

impl SortArray {
    fn udf(name: &'static str, nulls: Nulls) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Self { name, nulls, signature }))
    }
}

impl ScalarUDFImpl for SortArray {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let list = match given.first() {
            Some(DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) => {
                DataType::List(Arc::clone(item))
            }
            _ => return plan_err!("{} takes an array", self.name),
        };
        match (given.get(1), self.nulls, given.len()) {
            (None, _, 1) => Ok(vec![list]),
            (Some(DataType::Boolean), Nulls::Least, 2) => Ok(vec![list, DataType::Boolean]),
            _ => plan_err!("{} takes an array, and sort_array whether to sort upwards", self.name),
        }
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        given.first().map_or_else(|| plan_err!("{} takes an array", self.name), |list| Ok(list.clone()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        invoke_kernel(&args, |arrays| {
            let ascending = arrays.get(1).map(|ascending| ascending.as_boolean());
            sort_lists(arrays[0].as_list::<i32>(), self.nulls, |row| {
                ascending.is_none_or(|ascending| ascending.is_null(row) || ascending.value(row))
            })
        })
    }
}

fn sort_lists(lists: &ListArray, nulls: Nulls, ascending: impl Fn(usize) -> bool) -> Result<ArrayRef> {
    let mut places = UInt64Builder::with_capacity(lists.values().len());
    let mut lengths = Vec::with_capacity(lists.len());
    for row in 0..lists.len() {
        if lists.is_null(row) {
            lengths.push(0);
            continue;
        }
        let ascending = ascending(row);
        let options = SortOptions { descending: !ascending, nulls_first: nulls == Nulls::Least && ascending };
        let order = sort_to_indices(&lists.value(row), Some(options), None)?;
        let start = u64::try_from(lists.value_offsets()[row]).unwrap_or(0);
        order.values().iter().for_each(|place| places.append_value(start + u64::from(*place)));
        lengths.push(order.len());
    }
    let DataType::List(item) = lists.data_type() else { return Err(exec_datafusion_err!("no list to sort")) };
    let values = take(lists.values(), &places.finish(), None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, lists.nulls().cloned())?))
}
