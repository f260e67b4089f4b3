//! What a check of stored data found: where, what, and what to do about it. Never checks anything, and
//! never decides what is wrong.

use serde::Serialize;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file or the table, below the data directory.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// Something that is as it may be, and that an operator may want to know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Note {
    /// The file or the table, below the data directory.
    pub place: String,
    /// What it is.
    pub what: String,
}

/// What one check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What is wrong.
    pub wrong: Vec<Finding>,
    /// What is not.
    pub notes: Vec<Note>,
}

impl Findings {
    /// Something is wrong.
    pub fn wrong(&mut self, place: impl Into<String>, what: impl Into<String>, advice: impl Into<String>) {
        self.wrong.push(Finding { place: place.into(), what: what.into(), advice: advice.into() });
    }

    /// Something is worth a line.
    pub fn note(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.notes.push(Note { place: place.into(), what: what.into() });
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Takes what another check found.
    pub fn extend(&mut self, other: Findings) {
        self.wrong.extend(other.wrong);
        self.notes.extend(other.notes);
    }

    /// The same, found in a directory: a place is what follows its name, the directory itself, or a URL that
    /// says all.
    pub fn below(mut self, directory: &str) -> Self {
        let places = self.wrong.iter_mut().map(|finding| &mut finding.place);
        for place in places.chain(self.notes.iter_mut().map(|note| &mut note.place)) {
            *place = match place.as_str() {
                "" => directory.to_owned(),
                url if url.contains("://") => continue,
                name => format!("{directory}/{name}"),
            };
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_from_the_outermost_directory_on() {
        let mut inner = Findings::default();
        inner.note("a", "there");
        assert!(inner.is_clean());
        inner.wrong("", "gone", "look for it");
        let mut all = Findings::default();
        all.extend(inner.below("b").below("c"));
        let places = (all.wrong[0].place.as_str(), all.notes[0].place.as_str());
        assert_eq!((places, all.is_clean()), (("c/b", "c/b/a"), false));
    }
}
