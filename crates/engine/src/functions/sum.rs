//! `sum` that never wraps: integers and decimals are added in 128 bits and must fit their type in the end.
//!
//! Data flow: takes the place of DataFusion's `sum` in the registry, and hands floats and DISTINCT over to it.
//!
//! Invariant: a sum, also a partial one, is exact or an error.

use std::{mem::size_of, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray},
        datatypes::{DataType, Decimal128Type, DecimalType, FieldRef, Int64Type},
    },
    common::{ScalarValue, exec_datafusion_err},
    error::Result,
    functions_aggregate::sum::sum_udaf,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};

pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    vec![Arc::new(AggregateUDF::new_from_impl(ExactSum { native: sum_udaf() }))]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactSum {
    native: Arc<AggregateUDF>,
}

/// How sums of a type are kept and checked.
trait Summed: ArrowPrimitiveType + std::fmt::Debug {
    fn widen(value: Self::Native) -> i128;
    /// `None` if the sum does not fit `data_type`.
    fn narrow(sum: i128, data_type: &DataType) -> Option<Self::Native>;
}

impl Summed for Int64Type {
    fn widen(value: i64) -> i128 {
        value.into()
    }

    fn narrow(sum: i128, _data_type: &DataType) -> Option<i64> {
        i64::try_from(sum).ok()
    }
}

impl Summed for Decimal128Type {
    fn widen(value: i128) -> i128 {
        value
    }

    fn narrow(sum: i128, data_type: &DataType) -> Option<i128> {
        let DataType::Decimal128(precision, _) = data_type else { return None };
        Self::is_valid_decimal_precision(sum, *precision).then_some(sum)
    }
}

fn narrow<T: Summed>(sum: i128, data_type: &DataType) -> Result<T::Native> {
    T::narrow(sum, data_type).ok_or_else(|| match data_type {
        DataType::Decimal128(_, scale) => {
            let sum = Decimal128Type::format_decimal(sum, Decimal128Type::MAX_PRECISION, *scale);
            exec_datafusion_err!("decimal overflow: a sum of {sum} does not fit {data_type}")
        }
        _ => exec_datafusion_err!("integer overflow: a sum of {sum}"),
    })
}

fn add(sum: i128, value: i128) -> Result<i128> {
    sum.checked_add(value).ok_or_else(|| exec_datafusion_err!("decimal overflow: {sum} + {value} in a sum"))
}

impl AggregateUDFImpl for ExactSum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        self.native.signature()
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        self.native.coerce_types(given)
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        self.native.return_type(given)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.native.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_field.data_type().clone();
        match data_type {
            _ if args.is_distinct => self.native.accumulator(args),
            DataType::Int64 => Ok(Box::new(RunningSum::<Int64Type>::new(data_type))),
            DataType::Decimal128(..) => Ok(Box::new(RunningSum::<Decimal128Type>::new(data_type))),
            _ => self.native.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match args.return_field.data_type() {
            DataType::Int64 | DataType::Decimal128(..) if !args.is_distinct => self.accumulator(args),
            _ => self.native.create_sliding_accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.native.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let data_type = args.return_field.data_type().clone();
        match data_type {
            DataType::Int64 => Ok(Box::new(GroupSums::<Int64Type>::new(data_type))),
            DataType::Decimal128(..) => Ok(Box::new(GroupSums::<Decimal128Type>::new(data_type))),
            _ => self.native.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The sum of one group, or of a sliding window.
#[derive(Debug)]
struct RunningSum<T: Summed> {
    data_type: DataType,
    sum: i128,
    count: u64,
    kind: std::marker::PhantomData<T>,
}

impl<T: Summed> RunningSum<T> {
    fn new(data_type: DataType) -> Self {
        Self { data_type, sum: 0, count: 0, kind: std::marker::PhantomData }
    }
}

impl<T: Summed + Send + Sync> Accumulator for RunningSum<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.count += (values.len() - values.null_count()) as u64;
        for value in values.iter().flatten() {
            self.sum = add(self.sum, T::widen(value))?;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.count = self.count.saturating_sub((values.len() - values.null_count()) as u64);
        for value in values.iter().flatten() {
            self.sum = add(self.sum, -T::widen(value))?;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = if self.count == 0 { None } else { Some(narrow::<T>(self.sum, &self.data_type)?) };
        ScalarValue::new_primitive::<T>(sum, &self.data_type)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

/// The sums of all groups; a group without values has none.
#[derive(Debug)]
struct GroupSums<T: Summed> {
    data_type: DataType,
    sums: Vec<Option<i128>>,
    kind: std::marker::PhantomData<T>,
}

impl<T: Summed> GroupSums<T> {
    fn new(data_type: DataType) -> Self {
        Self { data_type, sums: Vec::new(), kind: std::marker::PhantomData }
    }
}

impl<T: Summed + Send + Sync> GroupsAccumulator for GroupSums<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.sums.resize(group_count, None);
        let values = values[0].as_primitive::<T>();
        for (row, (value, &group)) in values.iter().zip(group_indices).enumerate() {
            let kept = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if let (Some(value), true) = (value, kept) {
                let sum = &mut self.sums[group];
                *sum = Some(add(sum.unwrap_or(0), T::widen(value))?);
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], group_count: usize) -> Result<()> {
        self.update_batch(values, group_indices, None, group_count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = emit_to.take_needed(&mut self.sums);
        let sums = sums.into_iter().map(|sum| sum.map(|sum| narrow::<T>(sum, &self.data_type)).transpose());
        let array = sums.collect::<Result<PrimitiveArray<T>>>()?;
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<T>();
        let kept = |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        let array: PrimitiveArray<T> =
            values.iter().enumerate().map(|(row, value)| value.filter(|_| kept(row))).collect();
        Ok(vec![Arc::new(array.with_data_type(self.data_type.clone()))])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<Option<i128>>()
    }
}
