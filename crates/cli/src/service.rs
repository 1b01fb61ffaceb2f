//! Which service a command speaks to: said by a flag, by the environment, or the one that is signed in at.

use std::path::PathBuf;

use url::Url;

use crate::{
    address,
    contexts::{Context, Contexts},
    environment::Environment,
    failure::{Code, Failure},
};

/// A service, and the key to it.
#[derive(Clone)]
pub struct Service {
    pub(crate) url: Url,
    pub(crate) key_id: String,
    pub(crate) secret: String,
    pub(crate) ca_file: Option<PathBuf>,
    source: Source,
}

/// What named a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// This context.
    Context(String),
    /// `ROADSTEAD_URL` and its companions.
    Environment,
}

impl Service {
    /// The service that is named: by `--context`, then by `ROADSTEAD_URL`, then by `ROADSTEAD_CONTEXT`, then the current
    /// context; none if nothing names one.
    ///
    /// # Errors
    /// When what names it is incomplete, or there is no such context.
    pub fn find(context: Option<&str>, environment: &Environment) -> Result<Option<Self>, Failure> {
        if context.is_none()
            && let Some(url) = environment.text("ROADSTEAD_URL")
        {
            return Self::of_environment(url, environment).map(Some);
        }
        let name = context.or_else(|| environment.text("ROADSTEAD_CONTEXT"));
        let contexts = Contexts::read(environment)?;
        contexts.find(name)?.map(|(name, context)| Self::of_context(name, context)).transpose()
    }

    /// The service that is named.
    ///
    /// # Errors
    /// As [`Service::find`], and when nothing names one.
    pub fn named(context: Option<&str>, environment: &Environment) -> Result<Self, Failure> {
        let words = "not signed in: `roadstead login URL`, or set ROADSTEAD_URL, ROADSTEAD_KEY_ID and ROADSTEAD_SECRET";
        Self::find(context, environment)?.ok_or_else(|| Failure::new(Code::SignedOut, words))
    }

    pub(crate) fn of_context(name: &str, context: &Context) -> Result<Self, Failure> {
        Ok(Self {
            url: address::read(&context.url, context.insecure_http)?,
            key_id: context.key_id.clone(),
            secret: context.secret.clone(),
            ca_file: context.ca_file.clone(),
            source: Source::Context(name.to_owned()),
        })
    }

    fn of_environment(url: &str, environment: &Environment) -> Result<Self, Failure> {
        let need = |name: &str| {
            let words = format!("ROADSTEAD_URL is set, and {name} is not: both and ROADSTEAD_URL go together");
            environment.text(name).map(str::to_owned).ok_or_else(|| Failure::usage(words))
        };
        let insecure_http = match environment.text("ROADSTEAD_INSECURE_HTTP") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Failure::usage("ROADSTEAD_INSECURE_HTTP must be `true` or `false`")),
        };
        Ok(Self {
            url: address::read(url, insecure_http)?,
            key_id: need("ROADSTEAD_KEY_ID")?,
            secret: need("ROADSTEAD_SECRET")?,
            ca_file: environment.get("ROADSTEAD_CA_FILE").map(PathBuf::from),
            source: Source::Environment,
        })
    }

    /// Host and port, as images are named with.
    pub fn host(&self) -> String {
        address::host(&self.url)
    }

    /// What names it, for people.
    pub fn named_by(&self) -> String {
        match &self.source {
            Source::Context(name) => format!("the context {name}"),
            Source::Environment => "ROADSTEAD_URL".to_owned(),
        }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("url", &self.url.as_str()).field("source", &self.source).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_contexts(variables: &[(&str, &str)]) -> (tempfile::TempDir, Environment) {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().display().to_string();
        let environment = Environment::of(&[variables, &[("XDG_CONFIG_HOME", &home)]].concat());
        let mut contexts = Contexts { current: Some("one".to_owned()), ..Contexts::default() };
        for name in ["one", "two"] {
            let (url, key_id, secret) = (format!("https://{name}.test"), "RSK".to_owned(), "s3cret".to_owned());
            let context = Context { url, key_id, secret, ca_file: None, insecure_http: false };
            contexts.contexts.insert(name.to_owned(), context);
        }
        contexts.write(&environment).expect("written");
        (folder, environment)
    }

    const CI: [(&str, &str); 3] =
        [("ROADSTEAD_URL", "https://ci.test"), ("ROADSTEAD_KEY_ID", "RSK"), ("ROADSTEAD_SECRET", "s3cret")];

    #[test]
    fn what_is_said_nearest_wins() {
        let host = |flag: Option<&str>, variables: &[(&str, &str)]| {
            let (_folder, environment) = with_contexts(variables);
            Service::named(flag, &environment).expect("named").host()
        };
        assert_eq!(host(None, &[]), "one.test");
        assert_eq!(host(Some("two"), &CI), "two.test");
        assert_eq!(host(None, &[("ROADSTEAD_CONTEXT", "two")]), "two.test");
        assert_eq!(host(None, &[&CI[..], &[("ROADSTEAD_CONTEXT", "two")]].concat()), "ci.test");
        // Variables that name no service mean nothing.
        assert_eq!(host(None, &CI[1..]), "one.test");
    }

    #[test]
    fn half_an_environment_is_refused() {
        for (missing, (name, _)) in CI.iter().enumerate().skip(1) {
            let given: Vec<_> = CI.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, it)| *it).collect();
            let failure = Service::find(None, &Environment::of(&given)).expect_err("incomplete");
            assert!(failure.code() == Code::Usage && failure.words().contains(name), "{failure:?}");
        }
        let plain = [("ROADSTEAD_URL", "http://ci.test"), CI[1], CI[2]];
        assert!(Service::find(None, &Environment::of(&plain)).expect_err("in the clear").words().contains("http"));
        let failure = Service::named(None, &Environment::default()).expect_err("nothing");
        assert_eq!(failure.code(), Code::SignedOut);
    }

    #[test]
    fn a_secret_is_in_no_message() {
        let service = Service::find(None, &Environment::of(&CI)).expect("right").expect("named");
        assert!(!format!("{service:?}").contains("s3cret"));
    }
}
