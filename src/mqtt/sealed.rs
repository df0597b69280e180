//! Secrets that are sealed for this gateway: libsodium's sealed boxes (X25519, XSalsa20-Poly1305), so
//! that neither the broker nor who listens there can read them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_box::SecretKey;
use ring::rand::SecureRandom as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::command::Refusal;
use crate::model::Secret;

/// Levels of parameters that are looked into.
const DEPTH_MAX: u32 = 16;

/// The gateway's key pair.
pub struct SealingKey(SecretKey);

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey")
    }
}

/// What a secret was sealed for.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub gateway: &'a str,
    pub occasion: Occasion<'a>,
    /// What stands before the names of fields: empty in commands, `cameras.<key>.` in a document.
    pub within: &'a str,
}

/// When a secret may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion<'a> {
    /// The id of a command.
    Command(&'a str),
    /// The revision of a `desired` document.
    Revision(u64),
}

/// What lies in a box.
#[derive(Deserialize)]
struct Inside {
    gw: String,
    cmd_id: Option<String>,
    revision: Option<u64>,
    field: String,
    value: Secret,
}

impl SealingKey {
    /// A new one; `None` where the system has no random numbers to give.
    pub fn make() -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        ring::rand::SystemRandom::new().fill(&mut *bytes).ok()?;
        Some(Self(SecretKey::from(*bytes)))
    }

    /// As [`Self::to_secret`] wrote it.
    pub fn of(secret: &Secret) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(secret.expose()).ok()?);
        let bytes: [u8; 32] = bytes.as_slice().try_into().ok()?;
        Some(Self(SecretKey::from(bytes)))
    }

    pub fn to_secret(&self) -> Secret {
        Secret::new(STANDARD.encode(Zeroizing::new(self.0.to_bytes()).as_slice()))
    }

    /// The public key, base64.
    pub fn public(&self) -> String {
        STANDARD.encode(self.0.public_key().as_bytes())
    }

    /// Puts the values in the place of `{"sealed": "<base64>"}`, wherever one stands.
    ///
    /// # Errors
    /// `bad_seal`: sealed for another gateway, command or field, or damaged.
    pub fn open_all(
        &self,
        params: &mut Map<String, Value>,
        place: Place<'_>,
    ) -> Result<(), Refusal> {
        self.open_below(params, place, 0)
    }

    fn open_below(
        &self,
        fields: &mut Map<String, Value>,
        place: Place<'_>,
        depth: u32,
    ) -> Result<(), Refusal> {
        for (name, value) in fields {
            if let Some(sealed) = sealed(value) {
                let opened = self.open(sealed, name, place)?;
                *value = Value::String(opened.expose().to_owned());
            } else {
                self.open_value(value, place, depth)?;
            }
        }
        Ok(())
    }

    fn open_value(&self, value: &mut Value, place: Place<'_>, depth: u32) -> Result<(), Refusal> {
        match value {
            _ if depth > DEPTH_MAX => Err(Refusal::new(
                "malformed",
                "the parameters are nested too deep",
            )),
            Value::Object(fields) => self.open_below(fields, place, depth + 1),
            Value::Array(items) => items
                .iter_mut()
                .try_for_each(|item| self.open_value(item, place, depth + 1)),
            _ => Ok(()),
        }
    }

    fn open(&self, sealed: &str, field: &str, place: Place<'_>) -> Result<Secret, Refusal> {
        let bad = |why: &str| Refusal::new("bad_seal", format!("`{field}` {why}"));
        let bytes = STANDARD.decode(sealed).map_err(|_| bad("is no base64"))?;
        let opened = self.0.unseal(&bytes);
        let opened = Zeroizing::new(
            opened.map_err(|_| bad("is not sealed with this gateway's sealing_key"))?,
        );
        let inside: Inside = serde_json::from_slice(&opened)
            .map_err(|_| bad("must hold gw, cmd_id or revision, field and value"))?;
        let is_now = match place.occasion {
            Occasion::Command(id) => inside.cmd_id.as_deref() == Some(id),
            Occasion::Revision(number) => inside.revision == Some(number),
        };
        let is_here = inside.field.strip_prefix(place.within) == Some(field);
        let fits = inside.gw == place.gateway && is_now && is_here;
        match fits {
            true => Ok(inside.value),
            false => Err(bad("was sealed for another gateway, occasion or field")),
        }
    }
}

/// Seals a value with the public key of a gateway, as it stands in its `info`: what a requester puts in
/// the place of the secret.
///
/// # Errors
/// The key is none.
pub fn seal(
    public: &str,
    place: Place<'_>,
    field: &str,
    value: &Secret,
) -> Result<Value, &'static str> {
    let wrong = "the gateway's sealing_key is none";
    let key: [u8; 32] = STANDARD
        .decode(public)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(wrong)?;
    let mut inside = json!({
        "gw": place.gateway,
        "field": format!("{}{field}", place.within),
        "value": value.expose(),
    });
    match place.occasion {
        Occasion::Command(id) => inside["cmd_id"] = json!(id),
        Occasion::Revision(number) => inside["revision"] = json!(number),
    }
    let inside = Zeroizing::new(inside.to_string());
    let sealed = crypto_box::PublicKey::from(key)
        .seal(&mut crypto_box::aead::OsRng, inside.as_bytes())
        .map_err(|_| wrong)?;
    Ok(json!({"sealed": STANDARD.encode(sealed)}))
}

/// The text of `{"sealed": "..."}` and nothing else.
fn sealed(value: &Value) -> Option<&str> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    fields.get("sealed")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place {
        gateway: "gw-1",
        occasion: Occasion::Command("c1"),
        within: "",
    };

    #[test]
    fn a_secret_of_a_document_belongs_to_one_camera() {
        let key = SealingKey::make().unwrap();
        let place = Place {
            gateway: "gw-1",
            occasion: Occasion::Revision(7),
            within: "cameras.Gate.",
        };
        let sealed = seal(&key.public(), place, "password", &Secret::new("pa ss")).unwrap();
        let open = |place: Place<'_>| {
            let mut fields = json!({"password": sealed});
            let fields = fields.as_object_mut().unwrap();
            key.open_all(fields, place)
                .map_err(|refusal| refusal.code)?;
            Ok(fields["password"].clone())
        };
        assert_eq!(open(place), Ok(json!("pa ss")));
        for other in [
            Place {
                within: "cameras.Yard.",
                ..place
            },
            Place {
                occasion: Occasion::Revision(8),
                ..place
            },
            Place {
                occasion: Occasion::Command("7"),
                ..place
            },
            Place {
                gateway: "gw-2",
                ..place
            },
        ] {
            assert_eq!(open(other), Err("bad_seal"), "{other:?}");
        }
        assert!(super::seal("AAAA", place, "password", &Secret::new("x")).is_err());
    }

    /// Seals as a requester would, from the published key alone.
    fn seal_by_hand(key: &SealingKey, inside: &Value) -> String {
        let public: [u8; 32] = STANDARD.decode(key.public()).unwrap().try_into().unwrap();
        let public = crypto_box::PublicKey::from(public);
        let sealed = public.seal(&mut crypto_box::aead::OsRng, inside.to_string().as_bytes());
        STANDARD.encode(sealed.unwrap())
    }

    fn opened(key: &SealingKey, inside: &Value) -> Result<Value, &'static str> {
        let mut params =
            json!({"credentials": [{"password": {"sealed": seal_by_hand(key, inside)}}]});
        let fields = params.as_object_mut().unwrap();
        key.open_all(fields, PLACE)
            .map_err(|refusal| refusal.code)?;
        Ok(params["credentials"][0]["password"].clone())
    }

    #[test]
    fn a_secret_opens_only_in_its_place() {
        let key = SealingKey::of(&SealingKey::make().unwrap().to_secret()).unwrap();
        let good = json!({"gw": "gw-1", "cmd_id": "c1", "field": "password", "value": "pa ss"});
        assert_eq!(opened(&key, &good), Ok(json!("pa ss")));
        for (name, other) in [("gw", "gw-2"), ("cmd_id", "c2"), ("field", "username")] {
            let mut bad = good.clone();
            bad[name] = json!(other);
            assert_eq!(opened(&key, &bad), Err("bad_seal"), "{name}");
        }
        let stranger = SealingKey::make().unwrap();
        let mut params = json!({"password": {"sealed": seal_by_hand(&stranger, &good)}});
        let refused = key.open_all(params.as_object_mut().unwrap(), PLACE);
        assert_eq!(refused.unwrap_err().code, "bad_seal");
    }
}
