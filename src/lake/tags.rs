//! What a file's entry in the Delta log says of it besides its statistics: its tier, whose rows were taken out of it,
//! and which of its columns hold long texts. Files of short texts as ingest writes them carry no tags.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use crate::lifecycle::{TenantSet, Tier};

const TIER: &str = "driftline.tier";
const REMOVED: &str = "driftline.removedTenants";
const LONG: &str = "driftline.longColumns";

/// Tags as Delta holds them.
pub type Tags = HashMap<String, Option<String>>;

/// Columns of long texts, and the plain bytes of a row there, in the row group in which they are most.
pub type LongColumns = BTreeMap<String, usize>;

/// What the tags of a file say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// How it is kept.
    pub tier: Tier,
    /// Whose rows were taken out of it.
    pub removed: TenantSet,
    /// Its columns of long texts.
    pub long: LongColumns,
}

/// The tags of a file that ingest writes.
pub fn of_hot(long: &LongColumns) -> Option<Tags> {
    (!long.is_empty()).then(|| HashMap::from([(LONG.to_owned(), Some(json!(long).to_string()))]))
}

/// The tags of a file that maintenance writes.
pub fn write(tier: Tier, removed: &TenantSet, long: &LongColumns) -> Tags {
    let names = removed.names();
    let removed = match removed {
        TenantSet::Only(_) => json!({ "only": names }),
        TenantSet::AllBut(_) => json!({ "allBut": names }),
    };
    let own = [(TIER.to_owned(), Some(tier.name().to_owned())), (REMOVED.to_owned(), Some(removed.to_string()))];
    own.into_iter().chain(of_hot(long).into_iter().flatten()).collect()
}

/// What the tags say; a file without them is hot, whole, and of short texts. A lost tag costs a rewrite, or memory of a
/// statement, never a row.
pub fn read(tags: &Tags) -> Said {
    let text = |name: &str| tags.get(name).and_then(Option::as_deref);
    let tier = text(TIER).and_then(Tier::from_name).unwrap_or(Tier::Hot);
    let removed = text(REMOVED).and_then(removed).unwrap_or_default();
    let long = text(LONG).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    Said { tier, removed, long }
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
                for long in [LongColumns::new(), LongColumns::from([("raw".to_owned(), 5_000)])] {
                    let said = Said { tier, removed: removed.clone(), long };
                    assert_eq!(read(&write(tier, &said.removed, &said.long)), said);
                }
            }
        }
        let long = LongColumns::from([("raw".to_owned(), 5_000)]);
        assert_eq!(read(&of_hot(&long).unwrap_or_default()), Said { long, ..Said::default() });
        assert_eq!(of_hot(&LongColumns::new()), None);
        assert_eq!(read(&Tags::new()), Said::default());
        let odd = [(TIER, "icy"), (REMOVED, "{"), (LONG, "[]")];
        let odd = odd.map(|(name, text)| (name.to_owned(), Some(text.to_owned())));
        assert_eq!(read(&Tags::from(odd)), Said::default());
    }
}
