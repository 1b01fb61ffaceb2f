//! Names of images as people write them: `REGISTRY/REPOSITORY`, with `:TAG` or `@DIGEST`, and with the host before it where it was copied from
//! a pull.

use crate::failure::Failure;

/// A repository of a registry, perhaps with a tag or digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageName {
    pub(crate) registry: String,
    pub(crate) repository: String,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<String>,
}

impl ImageName {
    /// Reads a name. `host` is that of the service, which may stand before it.
    ///
    /// # Errors
    /// When it names no repository.
    pub(crate) fn read(text: &str, host: &str) -> Result<Self, Failure> {
        let inside = text.strip_prefix(host).and_then(|rest| rest.strip_prefix('/')).unwrap_or(text);
        let (named, digest) = match inside.split_once('@') {
            Some((named, digest)) => (named, Some(digest.to_owned())),
            None => (inside, None),
        };
        let last = named.rfind('/').map_or(0, |slash| slash + 1);
        let (named, tag) = match named[last..].split_once(':') {
            Some((_, tag)) => (&named[..named.len() - tag.len() - 1], Some(tag.to_owned())),
            None => (named, None),
        };
        let whole = |part: &Option<String>| part.as_ref().is_none_or(|part| !part.is_empty());
        match named.split_once('/') {
            Some((registry, repository))
                if !registry.is_empty()
                    && !repository.is_empty()
                    && !registry.contains([':', '.'])
                    && whole(&tag)
                    && whole(&digest) =>
            {
                Ok(Self { registry: registry.to_owned(), repository: repository.to_owned(), tag, digest })
            }
            Some((elsewhere, _)) if elsewhere.contains([':', '.']) => Err(Failure::usage(format!(
                "{text:?} is at {elsewhere}, and this is {host}: `--context` chooses another service"
            ))),
            _ => Err(Failure::usage(format!(
                "{text:?} names no image: it is like REGISTRY/REPOSITORY, such as team/app"
            ))),
        }
    }

    /// The same, of a whole repository.
    ///
    /// # Errors
    /// When a tag or digest is named.
    pub(crate) fn repository(text: &str, host: &str) -> Result<Self, Failure> {
        let name = Self::read(text, host)?;
        if name.tag.is_some() || name.digest.is_some() {
            let whole = name.whole();
            return Err(Failure::usage(format!(
                "{text:?} names one artifact, and a whole image is meant here: say {whole}"
            )));
        }
        Ok(name)
    }

    /// The same with a tag, and the tag.
    ///
    /// # Errors
    /// When none is named.
    pub(crate) fn tagged(text: &str, host: &str) -> Result<(Self, String), Failure> {
        let name = Self::read(text, host)?;
        match (&name.tag, &name.digest) {
            (Some(tag), None) => Ok((name.clone(), tag.clone())),
            _ => Err(Failure::usage(format!(
                "{text:?} names no tag: it is like REGISTRY/REPOSITORY:TAG, such as team/app:1"
            ))),
        }
    }

    /// `REGISTRY/REPOSITORY`.
    pub(crate) fn whole(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "r.test:5000";

    #[test]
    fn names_are_read_as_clients_write_them() {
        for (text, registry, repository, tag, digest) in [
            ("team/app", "team", "app", None, None),
            ("team/a/b/c:v1.2", "team", "a/b/c", Some("v1.2"), None),
            ("team/app@sha256:00", "team", "app", None, Some("sha256:00")),
            ("team/app:1@sha256:00", "team", "app", Some("1"), Some("sha256:00")),
            ("r.test:5000/team/app:1", "team", "app", Some("1"), None),
            ("team/r.test", "team", "r.test", None, None),
        ] {
            let read = ImageName::read(text, HOST).expect(text);
            assert_eq!((read.registry.as_str(), read.repository.as_str()), (registry, repository), "{text}");
            assert_eq!((read.tag.as_deref(), read.digest.as_deref()), (tag, digest), "{text}");
        }
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for text in
            ["", "team", "team/", "/app", "team/app:", "team/app@", "other.test/team/app", "localhost:1/team/app"]
        {
            assert!(ImageName::read(text, HOST).is_err(), "{text}");
        }
        assert!(ImageName::repository("team/app:1", HOST).expect_err("a tag").words().contains("team/app"));
        assert!(
            ImageName::tagged("team/app", HOST).is_err() && ImageName::tagged("team/app:1@sha256:0", HOST).is_err()
        );
        assert_eq!(ImageName::tagged("team/app:1", HOST).expect("a tag").1, "1");
    }
}
