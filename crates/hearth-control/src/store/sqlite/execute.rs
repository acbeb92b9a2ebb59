//! Primitives as SQL statements.
//!
//! Primitives with the same tables and columns give the same text, so each is prepared once per connection.

use std::fmt::Write as _;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use crate::store::Result;
use crate::store::primitive::{Columns, Expect, Rows, Test, Value, Write};

/// Whether an expectation holds.
pub(super) fn holds(db: &Connection, expect: &Expect) -> Result<bool> {
    match expect {
        Expect::Present(rows) => exists(db, rows),
        Expect::Absent(rows) => exists(db, rows).map(|exists| !exists),
        Expect::Fewer(tables, max) => {
            let mut found = 0;
            for rows in tables {
                found += count(db, rows)?;
            }
            Ok(found < *max)
        }
    }
}

fn exists(db: &Connection, rows: &Rows) -> Result<bool> {
    let statement = Statement::of_rows(&format!("SELECT 1 FROM {}", rows.table), rows);
    let mut query = db.prepare_cached(&statement.text)?;
    Ok(query.exists(params_from_iter(statement.values))?)
}

fn count(db: &Connection, rows: &Rows) -> Result<usize> {
    let statement = Statement::of_rows(&format!("SELECT count(*) FROM {}", rows.table), rows);
    let mut query = db.prepare_cached(&statement.text)?;
    let count: i64 = query.query_row(params_from_iter(statement.values), |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Executes a write. Returns the number of rows that it has changed.
pub(super) fn apply(db: &Connection, write: &Write) -> Result<usize> {
    let statement = statement(write);
    let mut prepared = db.prepare_cached(&statement.text)?;
    Ok(prepared.execute(params_from_iter(statement.values))?)
}

fn statement(write: &Write) -> Statement<'_> {
    match write {
        Write::Insert { table, columns } => insert(table, columns),
        Write::Put {
            table,
            key,
            columns,
            updated,
        } => {
            let mut statement = insert(table, columns);
            let assign = |column: &&str| format!("{column} = excluded.{column}");
            let assigned: Vec<_> = updated.iter().map(assign).collect();
            statement.push(&format!(" ON CONFLICT ({}) DO ", key.join(", ")));
            statement.push(&match assigned.as_slice() {
                [] => "NOTHING".to_owned(),
                some => format!("UPDATE SET {}", some.join(", ")),
            });
            statement
        }
        Write::Update { rows, columns, .. } => {
            let mut statement = Statement::new(&format!("UPDATE {} SET ", rows.table));
            for (at, (column, value)) in columns.iter().enumerate() {
                let comma = if at == 0 { "" } else { ", " };
                statement.push(&format!("{comma}{column} = ?"));
                statement.values.push(value.into());
            }
            statement.filter(rows);
            statement
        }
        Write::Delete { rows, .. } => {
            Statement::of_rows(&format!("DELETE FROM {}", rows.table), rows)
        }
    }
}

fn insert<'a>(table: &str, columns: &'a Columns) -> Statement<'a> {
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    let places = vec!["?"; names.len()].join(", ");
    let names = names.join(", ");
    let mut statement = Statement::new(&format!("INSERT INTO {table} ({names}) VALUES ({places})"));
    statement.values = columns.iter().map(|(_, value)| value.into()).collect();
    statement
}

/// A statement with the values of its placeholders.
struct Statement<'a> {
    text: String,
    values: Vec<Bound<'a>>,
}

/// A value for a placeholder.
#[derive(Debug)]
enum Bound<'a> {
    Value(&'a Value),
    Text(&'a str),
    Integer(i64),
    /// A list of texts, for `json_each`.
    List(String),
}

impl<'a> Statement<'a> {
    fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            values: Vec::new(),
        }
    }

    /// A statement that is restricted to these rows.
    fn of_rows(text: &str, rows: &'a Rows) -> Self {
        let mut statement = Self::new(text);
        statement.filter(rows);
        statement
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn filter(&mut self, rows: &'a Rows) {
        for (at, (column, test)) in rows.tests.iter().enumerate() {
            self.push(if at == 0 { " WHERE " } else { " AND " });
            let (condition, value) = condition(column, test);
            self.push(&condition);
            self.values.extend(value);
        }
    }
}

fn condition<'a>(column: &str, test: &'a Test) -> (String, Option<Bound<'a>>) {
    match test {
        Test::Is(value) => (format!("{column} = ?"), Some(value.into())),
        Test::Missing => (format!("{column} IS NULL"), None),
        Test::Set => (format!("{column} IS NOT NULL"), None),
        // The words stand in the text: SQLite uses a partial index only if it sees that the index's condition holds.
        Test::OneOf(words) => {
            let mut text = format!("{column} IN (");
            for (at, word) in words.iter().enumerate() {
                let comma = if at == 0 { "" } else { ", " };
                // Writing to a string cannot fail.
                let _ = write!(text, "{comma}'{word}'");
            }
            text.push(')');
            (text, None)
        }
        Test::NoneOf(texts) => {
            let list = serde_json::to_string(texts).unwrap_or_default();
            let text = format!("{column} NOT IN (SELECT value FROM json_each(?))");
            (text, Some(Bound::List(list)))
        }
        Test::Contains(text) => (format!("instr({column}, ?)"), Some(Bound::Text(text))),
        Test::Less(number) => (format!("{column} < ?"), Some(Bound::Integer(*number))),
    }
}

impl<'a> From<&'a Value> for Bound<'a> {
    fn from(value: &'a Value) -> Self {
        Self::Value(value)
    }
}

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Value(Value::Null) => ValueRef::Null,
            Self::Value(Value::Integer(number)) => ValueRef::Integer(*number),
            Self::Value(Value::Text(text)) => ValueRef::Text(text.as_bytes()),
            Self::Value(Value::Blob(bytes)) => ValueRef::Blob(bytes),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::List(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

#[cfg(test)]
mod tests;
