//! Tenants as sets: whose rows are meant, and whose rows a file may hold. A row without a tenant
//! belongs to nobody that can be named. Never looks at rows.

use std::collections::BTreeSet;

/// A set of tenants, perhaps of all that there will ever be.
///
/// As a filter over rows of one day, `Only` is `tenant_id in (…)`, and `AllBut` is
/// `tenant_id is null or tenant_id not in (…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantSet {
    /// These, and no row without a tenant.
    Only(BTreeSet<String>),
    /// Everybody else, and rows without a tenant.
    AllBut(BTreeSet<String>),
}

impl Default for TenantSet {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl TenantSet {
    /// All tenants, and rows without one.
    pub fn everybody() -> Self {
        Self::AllBut(BTreeSet::new())
    }

    /// Whether a tenant's rows are meant, or with `None` the rows without a tenant.
    pub fn contains(&self, tenant: Option<&str>) -> bool {
        match self {
            TenantSet::Only(names) => tenant.is_some_and(|tenant| names.contains(tenant)),
            TenantSet::AllBut(names) => tenant.is_none_or(|tenant| !names.contains(tenant)),
        }
    }

    /// Whether nobody is meant.
    pub fn is_empty(&self) -> bool {
        matches!(self, TenantSet::Only(names) if names.is_empty())
    }

    /// Whether everybody is meant.
    pub fn is_everybody(&self) -> bool {
        matches!(self, TenantSet::AllBut(names) if names.is_empty())
    }

    /// Whoever is not in the set.
    pub fn others(&self) -> Self {
        match self.clone() {
            TenantSet::Only(names) => TenantSet::AllBut(names),
            TenantSet::AllBut(names) => TenantSet::Only(names),
        }
    }

    /// Whoever is in one of the sets.
    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (TenantSet::Only(a), TenantSet::Only(b)) => TenantSet::Only(a | b),
            (TenantSet::AllBut(a), TenantSet::AllBut(b)) => TenantSet::AllBut(a & b),
            (TenantSet::AllBut(but), TenantSet::Only(names)) | (TenantSet::Only(names), TenantSet::AllBut(but)) => {
                TenantSet::AllBut(but - names)
            }
        }
    }

    /// Whoever is in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        self.others().union(&other.others()).others()
    }

    /// The tenants that the set names. All others are treated like a row without a tenant.
    pub fn names(&self) -> &BTreeSet<String> {
        match self {
            TenantSet::Only(names) | TenantSet::AllBut(names) => names,
        }
    }
}

/// Whose rows a file may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenants {
    /// These and no others.
    Listed {
        /// The tenants.
        names: BTreeSet<String>,
        /// Whether there are rows without a tenant.
        unnamed: bool,
    },
    /// Any between two bounds, inclusive, in the order of their bytes, and rows without a tenant.
    Within {
        /// The lower bound.
        least: String,
        /// The upper bound.
        greatest: String,
    },
    /// Anybody's.
    Unknown,
}

impl Tenants {
    /// What a file's statistics say: the bounds of the column where they are known, the file's rows,
    /// and those without a tenant where that is known.
    pub fn from_statistics(bounds: Option<(&str, &str)>, rows: u64, unnamed_rows: Option<u64>) -> Self {
        match (bounds, unnamed_rows) {
            (Some((least, greatest)), Some(unnamed)) if least == greatest => {
                Tenants::Listed { names: BTreeSet::from([least.to_owned()]), unnamed: unnamed > 0 }
            }
            (Some((least, greatest)), _) => Tenants::Within { least: least.to_owned(), greatest: greatest.to_owned() },
            (None, Some(unnamed)) if unnamed == rows => Tenants::Listed { names: BTreeSet::new(), unnamed: true },
            (None, _) => Tenants::Unknown,
        }
    }

    /// Everybody the file may hold, as far as sets can tell them apart: `named` are the tenants that
    /// any of the sets names, and `None` stands for all the rest.
    pub(super) fn candidates<'a>(&'a self, named: impl Iterator<Item = &'a str>) -> Vec<Option<&'a str>> {
        let is_within = |name: &str| match self {
            Tenants::Within { least, greatest } => least.as_str() <= name && name <= greatest.as_str(),
            _ => true,
        };
        match self {
            Tenants::Listed { names, unnamed } => {
                names.iter().map(|name| Some(name.as_str())).chain(unnamed.then_some(None)).collect()
            }
            Tenants::Within { .. } | Tenants::Unknown => {
                named.filter(|name| is_within(name)).map(Some).chain([None]).collect()
            }
        }
    }
}
