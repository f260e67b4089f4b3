//! Keys as text, as hashes and as what is kept of them.
//!
//! ```text
//! dl_<id: 16 hex digits>_<secret: 64 hex digits>
//! ```
//!
//! The id is public: it names the key in lists and logs. The secret is 256 random bits and is shown once. What is
//! kept is its BLAKE3 hash. A slow hash, as for passwords, would protect nothing here: nobody tries 2^256 secrets,
//! however fast one try is; and it would cost every request its time.

use std::{fmt, fmt::Write as _};

use super::{Permissions, Scope};

/// Random bytes that a key is made of.
pub const ENTROPY_BYTES: usize = ID_BYTES + SECRET_BYTES;
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
/// By this a key is recognised, by people and by programs that look for leaked ones.
const PREFIX: &str = "dl_";
/// Most bytes of a key's name.
const NAME_BYTES_MAX: usize = 100;
/// Most tenants of one key, and most bytes of a tenant's name.
const TENANTS_MAX: usize = 100;
const TENANT_BYTES_MAX: usize = 256;
/// A key that should last for longer should last for good.
const EXPIRES_DAYS_MAX: u32 = 36_500;
const DAY_US: i64 = 86_400_000_000;

/// A key as its holder has it. It is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: String,
    secret: String,
}

impl Token {
    /// The key of these random bytes.
    pub fn of(entropy: [u8; ENTROPY_BYTES]) -> Self {
        let (id, secret) = entropy.split_at(ID_BYTES);
        Self { id: hex(id), secret: hex(secret) }
    }

    /// Reads a key; none where the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let is_hex = |text: &str, bytes: usize| {
            text.len() == 2 * bytes && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        (is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES))
            .then(|| Self { id: id.to_owned(), secret: secret.to_owned() })
    }

    /// The public part.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// All of it, for the one time that it is shown.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }

    /// What is kept of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash(blake3::hash(self.reveal().as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.id)
    }
}

/// The hash of a key. Comparing two takes the same time wherever they differ: `blake3::Hash` sees to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(blake3::Hash);

impl SecretHash {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// From its bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(blake3::Hash::from_bytes(bytes.try_into().ok()?)))
    }
}

/// A key that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What it is for, for people.
    pub name: String,
    /// What it may be used for.
    pub permissions: Permissions,
    /// Whose rows it sees and writes.
    pub scope: Scope,
    /// When it ends, µs since the epoch, UTC; never where there is none.
    pub expires_at_us: Option<i64>,
}

/// When a key ends that lasts for so many days, µs since the epoch.
///
/// # Errors
///
/// How many there may be.
pub fn expiry_us(now_us: i64, days: u32) -> Result<i64, String> {
    if days > EXPIRES_DAYS_MAX {
        return Err(format!("a key ends after at most {EXPIRES_DAYS_MAX} days, or never: leave the days out"));
    }
    Ok(now_us + i64::from(days) * DAY_US)
}

impl NewKey {
    /// Checks what was asked for.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn new(name: &str, scopes: &str, tenants: Vec<String>, expires_at_us: Option<i64>) -> Result<Self, String> {
        let name = name.trim();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(format!("a key's name is a text of at most {NAME_BYTES_MAX} bytes"));
        }
        let permissions: Permissions = scopes.parse()?;
        if tenants.iter().any(|tenant| tenant.is_empty() || tenant.len() > TENANT_BYTES_MAX) {
            return Err(format!("a tenant is a text of at most {TENANT_BYTES_MAX} bytes"));
        }
        if tenants.len() > TENANTS_MAX {
            return Err(format!("a key is bound to at most {TENANTS_MAX} tenants"));
        }
        let scope = Scope::of(tenants);
        // What an administrator does is done to all tenants at once.
        if scope != Scope::Everybody && permissions.has(super::Permission::Admin) {
            return Err("a key with the scope admin cannot be bound to tenants: it acts on the rows of all".to_owned());
        }
        Ok(Self { name: name.to_owned(), permissions, scope, expires_at_us })
    }
}

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its public id.
    pub id: String,
    /// What it was made as.
    pub key: NewKey,
    /// The hash of the whole key.
    pub hash: SecretHash,
    /// When it was made, µs since the epoch, UTC.
    pub created_at_us: i64,
    /// When it was used last, give or take some minutes.
    pub used_at_us: Option<i64>,
    /// When it was revoked.
    pub revoked_at_us: Option<i64>,
}

impl KeyRecord {
    /// What keeps the key from being used now, if something does.
    pub fn ended(&self, now_us: i64) -> Option<&'static str> {
        match (self.revoked_at_us, self.key.expires_at_us) {
            (Some(_), _) => Some("revoked"),
            (None, Some(end_us)) if end_us <= now_us => Some("expired"),
            _ => None,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_shown() {
        let token = Token::of(std::array::from_fn(|at| (at as u8).wrapping_mul(7)));
        let text = token.reveal();
        assert!(text.starts_with("dl_00070e151c232a31_38"), "{text}");
        assert_eq!(Token::parse(&text).as_ref(), Some(&token));
        assert_eq!(format!("{token:?}"), "Token(00070e151c232a31)");
        for end in 0..text.len() {
            assert_eq!(Token::parse(&text[..end]), None);
        }
        for wrong in [text.to_uppercase(), format!("{text}0"), format!(" {text}"), text.replace("dl_", "xx_")] {
            assert_eq!(Token::parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_hash_is_of_all_of_a_key() {
        let token = |last: u8| {
            let mut entropy = [7; ENTROPY_BYTES];
            entropy[ENTROPY_BYTES - 1] = last;
            Token::of(entropy)
        };
        assert_eq!(token(1).hash(), token(1).hash());
        assert_ne!(token(1).hash(), token(2).hash());
        let kept = SecretHash::from_bytes(token(1).hash().bytes()).unwrap();
        assert_eq!(kept, token(1).hash());
        assert_eq!(SecretHash::from_bytes(&[0; 31]), None);
    }

    #[test]
    fn what_cannot_be_a_key_is_refused() {
        let check = |name: &str, scopes: &str, tenants: &[&str], expected: Result<(), &str>| {
            let tenants = tenants.iter().map(|tenant| (*tenant).to_owned()).collect();
            match (NewKey::new(name, scopes, tenants, None), expected) {
                (Ok(_), Ok(())) => {}
                (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
                (found, expected) => panic!("{found:?}, not {expected:?}"),
            }
        };
        check("agents", "ingest,query", &["a", "b"], Ok(()));
        check("operator", "admin", &[], Ok(()));
        check(" ", "query", &[], Err("name"));
        check("a\nb", "query", &[], Err("name"));
        check("a", "query,all", &[], Err("`all` is no scope"));
        check("a", "query", &[""], Err("a tenant is"));
        check("a", "admin", &["a"], Err("cannot be bound"));
    }

    #[test]
    fn a_key_ends() {
        let key = |expires_at_us| NewKey::new("a", "query", Vec::new(), expires_at_us).unwrap();
        let record = |expires_at_us, revoked_at_us| KeyRecord {
            id: "a".into(),
            key: key(expires_at_us),
            hash: Token::of([0; ENTROPY_BYTES]).hash(),
            created_at_us: 0,
            used_at_us: None,
            revoked_at_us,
        };
        assert_eq!(record(None, None).ended(5), None);
        assert_eq!(record(Some(6), None).ended(5), None);
        assert_eq!(record(Some(5), None).ended(5), Some("expired"));
        assert_eq!(record(Some(6), Some(1)).ended(5), Some("revoked"));
    }
}
