//! `avg` of decimals, rounded half up as in Spark; DataFusion's own cuts off what lies behind the last digit.
//!
//! Data flow: takes the place of DataFusion's `avg` in the registry, and hands all other types over to it.
//!
//! Invariant: a sum is exact or an error until the one division at the end.

use std::{mem::size_of, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, UInt64Array},
        datatypes::{DataType, Decimal128Type, DecimalType, Field, FieldRef, UInt64Type, i256},
    },
    common::{ScalarValue, exec_datafusion_err, internal_err},
    error::Result,
    functions_aggregate::average::avg_udaf,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};

pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    let average = RoundedAverage { native: avg_udaf(), aliases: vec!["mean".to_owned()] };
    vec![Arc::new(AggregateUDF::new_from_impl(average))]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RoundedAverage {
    native: Arc<AggregateUDF>,
    aliases: Vec<String>,
}

/// Scales of the values and of the average, and the digits that it may have.
#[derive(Clone, Copy, Debug)]
struct Scales {
    from: i8,
    precision: u8,
    to: i8,
}

impl Scales {
    /// Of the arguments of a call; `None` if it is not one of decimals.
    fn of(args: &AccumulatorArgs<'_>) -> Option<Self> {
        let from = match args.expr_fields.first()?.data_type() {
            DataType::Decimal128(_, scale) => *scale,
            _ => return None,
        };
        let DataType::Decimal128(precision, to) = *args.return_field.data_type() else { return None };
        (!args.is_distinct).then_some(Self { from, precision, to })
    }

    fn data_type(self) -> DataType {
        DataType::Decimal128(self.precision, self.to)
    }

    fn sum_type(self) -> DataType {
        sum_type(self.from)
    }

    fn average(self, sum: i128, count: u64) -> Result<Option<i128>> {
        if count == 0 {
            return Ok(None);
        }
        let digits = u32::from((self.to - self.from).unsigned_abs());
        let wide = i256::from_i128(sum).wrapping_mul(i256::from_i128(10).wrapping_pow(digits));
        let count = i256::from_i128(count.into());
        let (whole, rest) = (wide.wrapping_div(count), wide.wrapping_rem(count));
        let twice = rest.wrapping_abs().wrapping_mul(i256::from_i128(2));
        let away = if twice < count { 0 } else { sum.signum() };
        let rounded = whole.wrapping_add(i256::from_i128(away)).to_i128();
        let fits = rounded.filter(|average| Decimal128Type::is_valid_decimal_precision(*average, self.precision));
        fits.map(Some)
            .ok_or_else(|| exec_datafusion_err!("decimal overflow: an average does not fit {}", self.data_type()))
    }
}

fn sum_type(scale: i8) -> DataType {
    DataType::Decimal128(Decimal128Type::MAX_PRECISION, scale)
}

fn add(sum: i128, value: i128) -> Result<i128> {
    sum.checked_add(value).ok_or_else(|| exec_datafusion_err!("decimal overflow: {sum} + {value} in an average"))
}

impl AggregateUDFImpl for RoundedAverage {
    fn name(&self) -> &str {
        "avg"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
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
        match args.input_fields.first().map(|field| field.data_type()) {
            Some(DataType::Decimal128(_, scale)) if !args.is_distinct => {
                let field =
                    |name: &str, data_type| Arc::new(Field::new(format!("{}[{name}]", args.name), data_type, true));
                Ok(vec![field("count", DataType::UInt64), field("sum", sum_type(*scale))])
            }
            _ => self.native.state_fields(args),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match Scales::of(&args) {
            Some(scales) => Ok(Box::new(RunningAverage { scales, sum: 0, count: 0 })),
            None => self.native.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match Scales::of(&args) {
            Some(_) => self.accumulator(args),
            None => self.native.create_sliding_accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        Scales::of(&args).is_some() || self.native.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match Scales::of(&args) {
            Some(scales) => Ok(Box::new(GroupAverages { scales, groups: Vec::new() })),
            None => self.native.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Counts and sums of a state, row by row; a count is 0 where there is none.
fn states(values: &[ArrayRef]) -> Result<impl Iterator<Item = (u64, i128)>> {
    let [counts, sums] = values else { return internal_err!("the state of an average has {} columns", values.len()) };
    let (counts, sums) = (counts.as_primitive::<UInt64Type>().clone(), sums.as_primitive::<Decimal128Type>().clone());
    Ok((0..counts.len()).map(move |row| {
        let count = if counts.is_valid(row) { counts.value(row) } else { 0 };
        (count, if sums.is_valid(row) { sums.value(row) } else { 0 })
    }))
}

/// The average of one group, or of a sliding window.
#[derive(Debug)]
struct RunningAverage {
    scales: Scales,
    sum: i128,
    count: u64,
}

impl Accumulator for RunningAverage {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<Decimal128Type>().iter().flatten() {
            self.sum = add(self.sum, value)?;
            self.count += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<Decimal128Type>().iter().flatten() {
            self.sum = add(self.sum, -value)?;
            self.count = self.count.saturating_sub(1);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for (count, sum) in states(values)? {
            self.sum = add(self.sum, sum)?;
            self.count += count;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = ScalarValue::new_primitive::<Decimal128Type>(Some(self.sum), &self.scales.sum_type())?;
        Ok(vec![ScalarValue::UInt64(Some(self.count)), sum])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let average = self.scales.average(self.sum, self.count)?;
        ScalarValue::new_primitive::<Decimal128Type>(average, &self.scales.data_type())
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

/// Counts and sums of all groups.
#[derive(Debug)]
struct GroupAverages {
    scales: Scales,
    groups: Vec<(u64, i128)>,
}

impl GroupsAccumulator for GroupAverages {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.groups.resize(group_count, (0, 0));
        let values = values[0].as_primitive::<Decimal128Type>();
        for (row, (value, &group)) in values.iter().zip(group_indices).enumerate() {
            let kept = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if let (Some(value), true) = (value, kept) {
                let (count, sum) = &mut self.groups[group];
                (*count, *sum) = (*count + 1, add(*sum, value)?);
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], group_count: usize) -> Result<()> {
        self.groups.resize(group_count, (0, 0));
        for ((more, part), &group) in states(values)?.zip(group_indices) {
            let (count, sum) = &mut self.groups[group];
            (*count, *sum) = (*count + more, add(*sum, part)?);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emit_to.take_needed(&mut self.groups).into_iter();
        let averages =
            groups.map(|(count, sum)| self.scales.average(sum, count)).collect::<Result<Decimal128Array>>()?;
        Ok(Arc::new(averages.with_data_type(self.scales.data_type())))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = emit_to.take_needed(&mut self.groups);
        let counts = UInt64Array::from_iter_values(groups.iter().map(|(count, _)| *count));
        let sums = Decimal128Array::from_iter_values(groups.iter().map(|(_, sum)| *sum));
        Ok(vec![Arc::new(counts), Arc::new(sums.with_data_type(self.scales.sum_type()))])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<Decimal128Type>();
        let kept = |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        let counted = |row: usize| values.is_valid(row) && kept(row);
        let counts = UInt64Array::from_iter_values((0..values.len()).map(|row| u64::from(counted(row))));
        let sum = |row: usize| if counted(row) { values.value(row) } else { 0 };
        let sums = Decimal128Array::from_iter_values((0..values.len()).map(sum));
        Ok(vec![Arc::new(counts), Arc::new(sums.with_data_type(self.scales.sum_type()))])
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<(u64, i128)>()
    }
}
