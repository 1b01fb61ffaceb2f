//! What an issuer says of itself (OpenID Connect Discovery 1.0).

use serde::Deserialize;

/// The most bytes of it.
pub(crate) const MOST_BYTES: usize = 256 << 10;

/// The members that we ask for.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Document {
    pub(crate) issuer: String,
    pub(crate) jwks_uri: String,
    pub(crate) authorization_endpoint: Option<String>,
    pub(crate) token_endpoint: Option<String>,
    #[serde(default)]
    pub(crate) token_endpoint_auth_methods_supported: Vec<String>,
}

/// Where it is.
pub(crate) fn address_of(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
}

impl Document {
    /// The document of this issuer.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn read(body: &[u8], issuer: &str) -> Result<Self, String> {
        let document: Self = serde_json::from_slice(body)
            .map_err(|error| format!("{} is no OpenID configuration: {error}", address_of(issuer)))?;
        if document.issuer != issuer {
            return Err(format!(
                "{} is that of the issuer {:?}: configure just this address",
                address_of(issuer),
                document.issuer
            ));
        }
        Ok(document)
    }

    /// Whether the client's secret goes into the form, since HTTP Basic, which is usual, is not offered.
    pub(crate) fn wants_secret_in_form(&self) -> bool {
        let offers = |name: &str| self.token_endpoint_auth_methods_supported.iter().any(|method| method == name);
        offers("client_secret_post") && !offers("client_secret_basic")
    }
}
