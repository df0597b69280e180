//! Bearer tokens: made here, shown once, kept as their hash.

use serde::Serialize;
use subtle::ConstantTimeEq as _;

use super::{Scope, Site, SiteError, lock};
use crate::brake::now;
use crate::model::{Secret, Timestamp};
use crate::store::TokenRow;
use crate::sys::token;

/// Tokens at the same time.
const TOKENS_MAX: usize = 100;

/// A token as people see it: never the secret, nor its hash.
#[derive(Debug, Clone, Serialize)]
pub struct TokenView {
    pub id: String,
    pub name: String,
    pub scope: Scope,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}

impl Site {
    /// The scope of a bearer token, `None` for an unknown or expired one. Every stored hash is
    /// compared, so that the time says nothing.
    pub fn scope_of(&self, text: &str) -> Option<Scope> {
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let now = now();
        let mut found = None;
        for row in lock(&self.tokens).iter_mut() {
            let is_same: bool = row.sha256.ct_eq(digest.as_ref()).into();
            let is_live = row.expires_at.is_none_or(|end| now < end);
            if is_same && is_live {
                row.last_used_at = Some(now);
                found = scope(&row.scope);
            }
        }
        found
    }

    pub fn tokens(&self) -> Vec<TokenView> {
        lock(&self.tokens).iter().filter_map(view).collect()
    }

    /// Makes a token. The secret is in the answer and nowhere else.
    pub async fn create_token(
        &self,
        name: String,
        scope: Scope,
        expires_at: Option<Timestamp>,
    ) -> Result<(TokenView, Secret), SiteError> {
        if lock(&self.tokens).len() >= TOKENS_MAX {
            let message =
                format!("there are {TOKENS_MAX} tokens already; revoke one that is not used");
            return Err(SiteError::Invalid {
                field: "name",
                message,
            });
        }
        let failed = |e: std::io::Error| SiteError::Store {
            full: false,
            message: e.to_string(),
        };
        let (secret, sha256) = token::make().map_err(failed)?;
        let row = TokenRow {
            id: uuid::Uuid::now_v7().to_string(),
            name,
            scope: scope.as_str().to_owned(),
            sha256,
            created_at: now(),
            expires_at,
            last_used_at: None,
        };
        self.store.put_token(row.clone()).await?;
        tracing::info!(
            token = row.id,
            scope = row.scope,
            "a token was made for {}",
            row.name
        );
        let made = view(&row).ok_or_else(|| SiteError::UnknownToken(row.id.clone()))?;
        lock(&self.tokens).push(row);
        Ok((made, secret))
    }

    /// Takes a token out of force at once. The last one that may do everything stays.
    pub async fn revoke_token(&self, id: &str) -> Result<(), SiteError> {
        {
            let tokens = lock(&self.tokens);
            let row = tokens.iter().find(|row| row.id == id);
            let row = row.ok_or_else(|| SiteError::UnknownToken(id.to_owned()))?;
            let is_admin =
                |row: &&TokenRow| row.scope == Scope::Admin.as_str() && row.expires_at.is_none();
            if is_admin(&row) && tokens.iter().filter(is_admin).count() == 1 {
                return Err(SiteError::LastAdminToken);
            }
        }
        self.store.delete_token(id).await?;
        lock(&self.tokens).retain(|row| row.id != id);
        tracing::info!(token = id, "a token was revoked");
        Ok(())
    }

    /// When each token was last used, for the beat.
    pub(super) fn tokens_used(&self) -> Vec<(String, Timestamp)> {
        lock(&self.tokens)
            .iter()
            .filter_map(|row| Some((row.id.clone(), row.last_used_at?)))
            .collect()
    }
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

fn scope(name: &str) -> Option<Scope> {
    [Scope::Read, Scope::Operate, Scope::Admin]
        .into_iter()
        .find(|s| s.as_str() == name)
}

fn view(row: &TokenRow) -> Option<TokenView> {
    Some(TokenView {
        id: row.id.clone(),
        name: row.name.clone(),
        scope: scope(&row.scope)?,
        created_at: row.created_at,
        expires_at: row.expires_at,
        last_used_at: row.last_used_at,
    })
}
