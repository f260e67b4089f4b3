//! What all statistical aggregates share: one collection a group, its state as lists, its memory as it is. An
//! aggregate without groups has one group.

use std::{fmt, mem::size_of, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, new_empty_array},
    buffer::OffsetBuffer,
    datatypes::{DataType, Field},
};
use datafusion::{
    common::{Result, ScalarValue, resources_err},
    logical_expr::{Accumulator, EmitTo, GroupsAccumulator},
};

/// What rows are collected into until the statistic is computed.
pub(super) trait Collection: Default + fmt::Debug + Send + Sync + 'static {
    /// The columns of the state: names and types.
    fn fields() -> Vec<(&'static str, DataType)>;

    /// Adds rows, each to the group that it belongs to. `values` are the aggregate's arguments.
    fn add(values: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, groups: &mut [Self]) -> Result<()>;

    /// Adds all rows to one group.
    fn add_all(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = (0..values[0].len()).map(|row| (row, 0));
        Self::add(values, rows, std::slice::from_mut(self))
    }

    /// Adds states, each to the group that it belongs to.
    fn merge(states: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, groups: &mut [Self]) -> Result<()>;

    /// The columns of the state, a row a group.
    fn into_state(groups: Vec<Self>) -> Result<Vec<ArrayRef>>;

    /// Memory beside the value itself, bytes, with what computing the statistic takes.
    fn heap_bytes(&self) -> usize;
}

/// How a collection is answered. It may be asked again, and must then answer the same.
pub(super) type Answer<C> = fn(&mut C) -> Result<ScalarValue>;

/// A collection a group.
pub(super) struct Groups<C> {
    answer: Answer<C>,
    answer_type: DataType,
    groups: Vec<C>,
    /// Memory of the groups' collections when it was last counted.
    heap_bytes: usize,
    /// Rows since then. Counting takes a step a group, so it is done once in so many rows as there are groups.
    rows_uncounted: usize,
}

impl<C: Collection> Groups<C> {
    pub(super) fn new(answer: Answer<C>, answer_type: DataType) -> Self {
        Self { answer, answer_type, groups: Vec::new(), heap_bytes: 0, rows_uncounted: 0 }
    }

    fn grow(&mut self, total: usize) {
        self.groups.resize_with(total.max(self.groups.len()), C::default);
    }

    fn count_memory(&mut self, rows: usize) {
        self.rows_uncounted += rows;
        if self.rows_uncounted >= self.groups.len() {
            self.heap_bytes = self.groups.iter().map(C::heap_bytes).sum();
            self.rows_uncounted = 0;
        }
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<C> {
        let taken = emit_to.take_needed(&mut self.groups);
        self.rows_uncounted = self.groups.len();
        self.count_memory(0);
        taken
    }
}

impl<C: Collection> GroupsAccumulator for Groups<C> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups);
        let rows = group_indices.iter().copied().enumerate();
        match filter {
            None => C::add(values, rows, &mut self.groups)?,
            Some(filter) => {
                let kept = |row: usize| filter.is_valid(row) && filter.value(row);
                C::add(values, rows.filter(|(row, _)| kept(*row)), &mut self.groups)?;
            }
        }
        self.count_memory(group_indices.len());
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.grow(total_num_groups);
        C::merge(states, group_indices.iter().copied().enumerate(), &mut self.groups)?;
        self.rows_uncounted = self.groups.len();
        self.count_memory(0);
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let mut groups = self.take(emit_to);
        if groups.is_empty() {
            return Ok(new_empty_array(&self.answer_type));
        }
        let answers = groups.iter_mut().map(self.answer).collect::<Result<Vec<_>>>()?;
        ScalarValue::iter_to_array(answers)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        C::into_state(self.take(emit_to))
    }

    /// Every row a group of its own.
    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows: Vec<usize> = (0..values[0].len()).collect();
        let mut single = Self::new(self.answer, self.answer_type.clone());
        single.update_batch(values, &rows, filter, rows.len())?;
        single.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.groups.capacity() * size_of::<C>() + self.heap_bytes
    }
}

/// The aggregate without groups.
pub(super) struct Single<C> {
    answer: Answer<C>,
    collection: C,
}

impl<C: Collection> Single<C> {
    pub(super) fn new(answer: Answer<C>) -> Self {
        Self { answer, collection: C::default() }
    }
}

impl<C: fmt::Debug> fmt::Debug for Single<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Single").field(&self.collection).finish()
    }
}

impl<C: Collection> Accumulator for Single<C> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.collection.add_all(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = (0..states[0].len()).map(|row| (row, 0));
        C::merge(states, rows, std::slice::from_mut(&mut self.collection))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        (self.answer)(&mut self.collection)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let collection = std::mem::take(&mut self.collection);
        let columns = C::into_state(vec![collection])?;
        columns.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.collection.heap_bytes()
    }
}

/// The type of a list of these.
pub(super) fn list_type(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// A list a group, of so many items each.
pub(super) fn lists(items: ArrayRef, lengths: impl Iterator<Item = usize>) -> Result<ArrayRef> {
    if items.len() > i32::MAX as usize {
        return resources_err!("a statistic over more than 2,147,483,647 values at once: ask for a shorter range");
    }
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    Ok(Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), items, None)))
}

/// The items of one list of a state.
pub(super) fn items(state: &ArrayRef, row: usize) -> ArrayRef {
    state.as_list::<i32>().value(row)
}
