//! What a key may be used for.

use std::{fmt, str::FromStr};

/// One kind of use. A key's scopes are some of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// Sending records.
    Ingest,
    /// Asking: SQL, queries, KPIs, coverage, reports, drift, metrics, status.
    Query,
    /// All else: maintenance, deletion, backups, keys.
    Admin,
}

impl Permission {
    /// All there are.
    pub const ALL: [Permission; 3] = [Permission::Ingest, Permission::Query, Permission::Admin];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Permission::Ingest => "ingest",
            Permission::Query => "query",
            Permission::Admin => "admin",
        }
    }
}

/// Some permissions: at least one. Admin has not the others in it: a key that only deletes need not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions(Vec<Permission>);

impl Permissions {
    /// Whether it is one of them.
    pub fn has(&self, permission: Permission) -> bool {
        self.0.contains(&permission)
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(|permission| permission.name()).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Permissions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut permissions = Vec::new();
        for name in text.split(',').map(str::trim) {
            let known = Permission::ALL.into_iter().find(|permission| permission.name() == name);
            permissions.push(known.ok_or_else(|| format!("`{name}` is no scope: they are ingest, query and admin"))?);
        }
        permissions.sort_unstable();
        permissions.dedup();
        Ok(Self(permissions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_and_written() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let read = text.parse::<Permissions>().map(|permissions| permissions.to_string());
            match expected {
                Ok(expected) => assert_eq!(read.as_deref(), Ok(expected)),
                Err(part) => assert!(read.is_err_and(|reason| reason.contains(part)), "{text}"),
            }
        };
        check("query", Ok("query"));
        check("admin, ingest,query,query", Ok("ingest,query,admin"));
        check("", Err("`` is no scope"));
        check("query,root", Err("`root` is no scope"));
        check("Query", Err("`Query`"));
    }
}
