//! SQLite's own checks, and rules between tables.

use rusqlite::Connection;

/// What is wrong with the file; with `deep` every index is compared with its table too.
pub(crate) fn whole(connection: &Connection, deep: bool) -> rusqlite::Result<Vec<String>> {
    let mut problems = Vec::new();
    let check = if deep { "PRAGMA integrity_check(100)" } else { "PRAGMA quick_check(100)" };
    let mut statement = connection.prepare(check)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let line: String = row.get(0)?;
        if line != "ok" {
            problems.push(line);
        }
    }
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        problems.push(format!(
            "a row of {} refers to a row of {} that is not there",
            row.get::<_, String>(0)?,
            row.get::<_, String>(2)?
        ));
    }
    let rules = [
        (
            "SELECT count(*) FROM entries WHERE eid > (SELECT head_eid FROM feeds WHERE feed = entries.feed)",
            "numbers of entries are beyond the head of their feed",
        ),
        (
            "SELECT count(*) FROM entries WHERE seq > (SELECT head_seq FROM feeds WHERE feed = entries.feed)",
            "sequence numbers are beyond the head of their feed",
        ),
        (
            "SELECT count(*) FROM locations l WHERE NOT EXISTS (SELECT 1 FROM entries e WHERE e.feed = l.feed AND e.eid = l.root AND e.parent = 0)",
            "locations have no root entry",
        ),
    ];
    for (query, what) in rules {
        let count: i64 = connection.query_row(query, [], |row| row.get(0))?;
        if count > 0 {
            problems.push(format!("{count} {what}"));
        }
    }
    Ok(problems)
}
