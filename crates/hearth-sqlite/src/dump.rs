//! Dumps a database as SQL text.

use std::fmt::Write as _;

use rusqlite::Connection;

use crate::Error;

/// The content of a database as SQL text that recreates it: the number of its migration steps; tables and indexes in
/// the order of their creation; rows in the order of their columns; triggers last, so that they do not run for those
/// rows. Equal databases give equal texts.
///
/// Stores keep such dumps of files of earlier releases. Their tests check that the present code reads and writes
/// those files.
///
/// # Errors
///
/// [`Error::Sqlite`] if the database cannot be read.
pub fn dump(db: &Connection) -> Result<String, Error> {
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let mut text = format!("PRAGMA user_version = {version};\n");
    let (mut tables, mut triggers) = (Vec::new(), Vec::new());
    let mut schema = db.prepare(
        "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY rowid",
    )?;
    let mut rows = schema.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, name, sql): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if kind == "trigger" {
            triggers.push(sql);
            continue;
        }
        push_line(&mut text, &format!("{sql};"));
        if kind == "table" {
            tables.push(name);
        }
    }
    for table in tables {
        for row in rows_of(db, &table)? {
            push_line(&mut text, &format!("INSERT INTO {table} VALUES ({row});"));
        }
    }
    for trigger in triggers {
        push_line(&mut text, &format!("{trigger};"));
    }
    Ok(text)
}

/// The rows of a table, each as a list of SQL values.
fn rows_of(db: &Connection, table: &str) -> Result<Vec<String>, Error> {
    let table_columns = db.prepare(&format!("SELECT * FROM {table}"))?;
    let (mut values, mut order) = (Vec::new(), Vec::new());
    for column in table_columns.column_names() {
        values.push(format!("quote({column})"));
        order.push(column.to_owned());
    }
    let (values, order) = (values.join(" || ', ' || "), order.join(", "));
    let mut query = db.prepare(&format!("SELECT {values} FROM {table} ORDER BY {order}"))?;
    let rows = query.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn push_line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests;
