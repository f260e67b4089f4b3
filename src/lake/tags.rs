//! What a file's entry in the Delta log says of it besides its statistics: its tier, and whose rows were
//! taken out of it. Files as ingest writes them carry no tags.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use crate::lifecycle::{TenantSet, Tier};

const TIER: &str = "driftline.tier";
const REMOVED: &str = "driftline.removedTenants";

/// Tags as Delta holds them.
pub type Tags = HashMap<String, Option<String>>;

/// The tags of a file that maintenance writes.
pub fn write(tier: Tier, removed: &TenantSet) -> Tags {
    let names = removed.names();
    let removed = match removed {
        TenantSet::Only(_) => json!({ "only": names }),
        TenantSet::AllBut(_) => json!({ "allBut": names }),
    };
    HashMap::from([(TIER.to_owned(), Some(tier.name().to_owned())), (REMOVED.to_owned(), Some(removed.to_string()))])
}

/// What the tags say; a file without them is hot and whole. A lost tag costs a rewrite, never a row.
pub fn read(tags: &Tags) -> (Tier, TenantSet) {
    let text = |name: &str| tags.get(name).and_then(Option::as_deref);
    let tier = text(TIER).and_then(Tier::from_name).unwrap_or(Tier::Hot);
    (tier, text(REMOVED).and_then(removed).unwrap_or_default())
}

fn removed(text: &str) -> Option<TenantSet> {
    let value: Value = serde_json::from_str(text).ok()?;
    let names = |key: &str| -> Option<BTreeSet<String>> {
        value.get(key)?.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    };
    names("only").map(TenantSet::Only).or_else(|| names("allBut").map(TenantSet::AllBut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_back_as_they_were() {
        let names = || BTreeSet::from(["a".to_owned(), "b \"c\"".to_owned()]);
        for tier in [Tier::Hot, Tier::Warm, Tier::Cold] {
            for removed in [TenantSet::default(), TenantSet::Only(names()), TenantSet::AllBut(names())] {
                assert_eq!(read(&write(tier, &removed)), (tier, removed));
            }
        }
        assert_eq!(read(&Tags::new()), (Tier::Hot, TenantSet::default()));
        let odd = Tags::from([(TIER.to_owned(), Some("icy".to_owned())), (REMOVED.to_owned(), Some("{".to_owned()))]);
        assert_eq!(read(&odd), (Tier::Hot, TenantSet::default()));
    }
}
