use super::*;

const TEXT: &str = "PRAGMA user_version = 3;
CREATE TABLE owner (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE line (id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT REFERENCES owner (name), bytes BLOB);
CREATE INDEX line_owner ON line (owner);
INSERT INTO owner VALUES ('it''s; me');
INSERT INTO owner VALUES ('two
lines');
INSERT INTO line VALUES (1, NULL, X'00FF');
INSERT INTO line VALUES (2, 'it''s; me', NULL);
";

#[test]
fn a_text_makes_a_database_with_the_same_text() {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(TEXT).unwrap();
    assert_eq!(dump(&db).unwrap(), TEXT);
}
