//! The primitives that a backend has to provide: tables of rows, four kinds of writes and three kinds of
//! expectations.
//!
//! [`super::translate`] turns guards and changes into primitives. A backend executes them and knows nothing of
//! microVMs or images.
//!
//! Some tests are wider than "the row with this key": quotas count rows by an index column, and retention selects
//! rows by age. There is no join, and no expression over more than one column.

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

/// A test of one column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    /// The column has this value.
    Is(Value),
    /// The column has no value.
    Missing,
    /// The column has a value.
    Set,
    /// The column has one of these words.
    OneOf(Vec<&'static str>),
    /// The column has none of these texts.
    NoneOf(Vec<String>),
    /// The text of the column contains this text.
    Contains(String),
    /// The number in the column is less than this one.
    Less(i64),
}

/// A condition that must hold for a batch to be committed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expect {
    /// Such a row exists.
    Present(Rows),
    /// No such row exists.
    Absent(Rows),
    /// Fewer such rows exist, counted over all these tables, than this number.
    Fewer(Vec<Rows>, usize),
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Write {
    /// Inserts a row. Fails if a row with its key exists.
    Insert {
        table: &'static str,
        columns: Columns,
    },
    /// Inserts a row. If a row with its key exists, only its columns `updated` change.
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

/// What happens if there is no row to change or remove.
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

    /// Adds the test that the column has this value.
    pub(crate) fn is(self, column: &'static str, value: impl Into<Value>) -> Self {
        self.test(column, Test::Is(value.into()))
    }

    /// Adds a test of a column.
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

    /// Removes rows. No-op if absent.
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
