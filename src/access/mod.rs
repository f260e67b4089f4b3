//! Who may do what, as values: scopes of rows, permissions, keys and their hashes, and how often is too often.
//! Pure: no I/O, no clock, no randomness. It never decides about a request; that is `gate`.

mod allowance;
mod key;
mod permission;

use std::{collections::BTreeSet, sync::Arc};

pub use allowance::Allowance;
pub use key::{ENTROPY_BYTES, KeyRecord, NewKey, SecretHash, Token, expiry_us};
pub use permission::{Permission, Permissions};

/// Whose rows a caller sees and writes. It goes from the edge where the caller is known into every room that
/// reads or writes rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Those of all tenants, and what belongs to none.
    #[default]
    Everybody,
    /// Only those whose `tenant_id` is one of these.
    Tenants(Tenants),
}

/// The tenants of a bound caller: one at least.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tenants(Arc<BTreeSet<String>>);

impl Tenants {
    /// These tenants; none where there is not one.
    pub fn new(names: impl IntoIterator<Item = String>) -> Option<Self> {
        let names: BTreeSet<String> = names.into_iter().collect();
        (!names.is_empty()).then(|| Self(Arc::new(names)))
    }

    /// Whether the tenant is one of them.
    pub fn has(&self, tenant: &str) -> bool {
        self.0.contains(tenant)
    }

    /// Their names, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The tenant, where there is but one.
    pub fn only(&self) -> Option<&str> {
        if self.0.len() == 1 { self.0.first().map(String::as_str) } else { None }
    }

    /// Bytes that only these tenants have: each name with its length, so that no two sets read alike.
    pub fn identity(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for name in self.0.iter() {
            bytes.extend_from_slice(&(name.len() as u64).to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes
    }
}

impl Scope {
    /// The scope of a key that is bound to these tenants, or to none and so to all.
    pub fn of(tenants: impl IntoIterator<Item = String>) -> Self {
        Tenants::new(tenants).map_or(Self::Everybody, Self::Tenants)
    }

    /// The tenants of a bound scope.
    pub fn tenants(&self) -> Option<&Tenants> {
        match self {
            Self::Everybody => None,
            Self::Tenants(tenants) => Some(tenants),
        }
    }

    /// Whether a tenant is in it.
    pub fn sees(&self, tenant: &str) -> bool {
        self.tenants().is_none_or(|tenants| tenants.has(tenant))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_of_everybody_or_of_some() {
        assert_eq!(Scope::of([]), Scope::Everybody);
        let Scope::Tenants(one) = Scope::of(["a".to_owned(), "a".to_owned()]) else { panic!("bound") };
        assert_eq!((one.only(), one.has("a"), one.has("A")), (Some("a"), true, false));
        let Scope::Tenants(two) = Scope::of(["b".to_owned(), "a".to_owned()]) else { panic!("bound") };
        assert_eq!((two.only(), two.names().collect::<Vec<_>>()), (None, vec!["a", "b"]));
    }

    #[test]
    fn no_two_sets_of_tenants_read_alike() {
        let of = |names: &[&str]| Tenants::new(names.iter().map(|name| (*name).to_owned())).unwrap().identity();
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab"]), of(&["a", "b"]));
        assert_eq!(of(&["b", "a"]), of(&["a", "b"]));
    }
}
