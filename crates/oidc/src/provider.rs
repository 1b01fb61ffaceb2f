//! Signing in at a provider: the authorization code flow with PKCE (OpenID Connect Core 1.0, 3.1; RFC 7636, RFC 9700).
//!
//! What a sign-in needs to be finished is a [`Flow`], which who began it keeps for the browser that it was begun in.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use roadstead_outgoing::Request;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::{Issuer, TokenError, claims::Claims, document::MOST_BYTES};

/// How we are known to a provider, and what we ask for.
#[derive(Clone)]
pub struct ProviderOptions {
    /// By this name.
    pub client_id: String,
    /// With this secret; without one, PKCE alone protects the code.
    pub client_secret: Option<String>,
    /// What is asked for: `openid` and others.
    pub scopes: Vec<String>,
}

/// A provider that people sign in at.
#[derive(Clone)]
pub struct Provider {
    issuer: Arc<Issuer>,
    options: ProviderOptions,
}

/// A sign-in that has begun: secrets of one browser.
#[derive(Clone, Serialize, Deserialize)]
pub struct Flow {
    /// Comes back with the browser: by it we know that it was sent by us.
    pub state: String,
    /// Comes back inside the token.
    pub nonce: String,
    /// Proves to the provider that the code is redeemed by who asked for it.
    pub verifier: String,
    /// Where the provider sends the browser back to.
    pub back: String,
}

/// Where the browser goes now.
pub struct Begun {
    /// The provider's page.
    pub address: String,
    /// To be kept for its return.
    pub flow: Flow,
}

/// The members that we ask for of the answer to a code.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

/// And of a refusal.
#[derive(Deserialize)]
struct Refused {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Provider {
    /// The provider at an issuer.
    pub fn new(issuer: Issuer, options: ProviderOptions) -> Self {
        Self { issuer: Arc::new(issuer), options }
    }

    /// Its issuer.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Begins a sign-in; `random` is for this one alone.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn begin(&self, random: [[u8; 32]; 3], back: String, now: i64) -> Result<Begun, TokenError> {
        let document = self.issuer.document(now).await?;
        let page = document.authorization_endpoint.as_deref().and_then(|address| Url::parse(address).ok());
        let right = |page: &Url| page.scheme() == "https" || (self.issuer.is_internal() && page.scheme() == "http");
        let Some(mut page) = page.filter(right) else { return Err(self.unfit("no page to sign in at")) };
        let [state, nonce, verifier] = random.map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        page.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.options.client_id)
            .append_pair("redirect_uri", &back)
            .append_pair("scope", &self.options.scopes.join(" "))
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())))
            .append_pair("code_challenge_method", "S256");
        Ok(Begun { address: page.into(), flow: Flow { state, nonce, verifier, back } })
    }

    /// Who signed in: what the provider says of them for the code that the browser came back with.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn finish(&self, flow: &Flow, code: &str, now: i64) -> Result<Claims, TokenError> {
        let document = self.issuer.document(now).await?;
        let Some(address) = document.token_endpoint.clone() else { return Err(self.unfit("no address for tokens")) };
        let mut form = vec![
            ("grant_type".to_owned(), "authorization_code".to_owned()),
            ("code".to_owned(), code.to_owned()),
            ("redirect_uri".to_owned(), flow.back.clone()),
            ("code_verifier".to_owned(), flow.verifier.clone()),
        ];
        let ProviderOptions { client_id, client_secret, .. } = &self.options;
        let mut basic = None;
        match client_secret {
            // Both are form-encoded first (RFC 6749, 2.3.1).
            Some(secret) if !document.wants_secret_in_form() => basic = Some((encoded(client_id), encoded(secret))),
            Some(secret) => {
                form.push(("client_id".to_owned(), client_id.clone()));
                form.push(("client_secret".to_owned(), secret.clone()));
            }
            None => form.push(("client_id".to_owned(), client_id.clone())),
        }
        let request =
            Request { address, internal: self.issuer.is_internal(), form: Some(form), basic, most: MOST_BYTES };
        let answer = self.issuer.outgoing().fetch(request).await;
        let answer = answer.map_err(|error| TokenError::Unavailable(error.to_string()))?;
        if answer.status != 200 {
            let refused = serde_json::from_slice::<Refused>(&answer.body);
            let words = refused.map(|it| format!("{} {}", it.error, it.error_description)).unwrap_or_default();
            let words = format!("the provider does not take the code: it answers {} {}", answer.status, words.trim());
            // A code that is made up is answered with `invalid_grant`; all else is a fault of the provider or of our settings.
            let made_up = answer.status == 400 && words.contains("invalid_grant");
            return Err(if made_up { TokenError::Invalid(words) } else { TokenError::Unavailable(words) });
        }
        let tokens: Tokens = serde_json::from_slice(&answer.body)
            .map_err(|error| TokenError::Unavailable(format!("the provider gives no ID token: {error}")))?;
        let claims = self.issuer.verify(&tokens.id_token, now).await?;
        claims.check_sign_in(client_id, &flow.nonce)?;
        Ok(claims)
    }

    fn unfit(&self, what: &str) -> TokenError {
        TokenError::Unavailable(format!("{} names {what} in its document", self.issuer.address()))
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
