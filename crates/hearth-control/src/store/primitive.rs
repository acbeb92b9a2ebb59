//! What a backend has to be able to do: tables of rows, four kinds of writes and three kinds of expectations.
//!
//! [`super::translate`] turns guards and changes into these. A backend executes them and knows nothing of microVMs or images.
//!
//! Some tests are wider than "the row with this key", because quotas count rows by an index column and what is forgotten is
//! chosen by age. There is no join, and no expression over more than one column.

/// A value in a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// None.
    Null,
    /// A number, a truth value (0 or 1) or a time.
    Integer(i64),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// Columns with their values.
pub(crate) type Columns = Vec<(&'static str, Value)>;

/// The rows of a table that pass all tests.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rows {
    pub(crate) table: &'static str,
    pub(crate) tests: Vec<(&'static str, Test)>,
}

/// What a column has to pass.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    /// It has this value.
    Is(Value),
    /// It has no value.
    Missing,
    /// It has a value.
    Set,
    /// It has one of these words.
    OneOf(Vec<&'static str>),
    /// It has none of these texts.
    NoneOf(Vec<String>),
    /// Its text contains this text.
    Contains(String),
    /// Its number is less than this one.
    Less(i64),
}

/// Something that must hold for a batch to happen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expect {
    /// There is such a row.
    Present(Rows),
    /// There is no such row.
    Absent(Rows),
    /// There are fewer such rows, counted together, than this.
    Fewer(Vec<Rows>, usize),
}

/// Something that changes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Write {
    /// Writes a row. Fails if there is one with its key.
    Insert {
        table: &'static str,
        columns: Columns,
    },
    /// Writes a row. If there is one with its key, only the columns `updated` of it change.
    Put {
        table: &'static str,
        key: &'static [&'static str],
        columns: Columns,
        updated: &'static [&'static str],
    },
    /// Changes columns of rows.
    Update {
        rows: Rows,
        columns: Columns,
        if_none: IfNone,
    },
    /// Removes rows.
    Delete { rows: Rows, if_none: IfNone },
}

/// What it means that there is no row to change or remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfNone {
    /// Nothing: no-op if absent.
    Fine,
    /// The batch fails.
    Fails,
}

impl Rows {
    /// All rows of a table.
    pub(crate) const fn of(table: &'static str) -> Self {
        Self {
            table,
            tests: Vec::new(),
        }
    }

    /// Of these the ones whose column has this value.
    pub(crate) fn is(self, column: &'static str, value: impl Into<Value>) -> Self {
        self.test(column, Test::Is(value.into()))
    }

    /// Of these the ones whose column passes a test.
    pub(crate) fn test(mut self, column: &'static str, test: Test) -> Self {
        self.tests.push((column, test));
        self
    }
}

impl Write {
    /// Whether the batch fails if there is no row to change or remove.
    pub(crate) fn must_find(&self) -> bool {
        matches!(
            self,
            Self::Update {
                if_none: IfNone::Fails,
                ..
            } | Self::Delete {
                if_none: IfNone::Fails,
                ..
            }
        )
    }

    /// Removes rows if there are any.
    pub(crate) const fn forget(rows: Rows) -> Self {
        let if_none = IfNone::Fine;
        Self::Delete { rows, if_none }
    }

    /// Removes rows that must exist.
    pub(crate) const fn remove(rows: Rows) -> Self {
        let if_none = IfNone::Fails;
        Self::Delete { rows, if_none }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Integer(is.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<[u8; 32]> for Value {
    fn from(bytes: [u8; 32]) -> Self {
        Self::Blob(bytes.to_vec())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
