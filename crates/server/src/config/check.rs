//! Settings that are right each for itself and wrong together.

use super::settings::{Bucket, BucketType, Config, DatabaseAddress, FURTHER_BUCKETS};

/// Adds a sentence for each contradiction.
pub(super) fn check(config: &Config, problems: &mut Vec<String>) {
    let mut refuse = |wrong: bool, words: &str| {
        if wrong {
            problems.push(words.to_owned());
        }
    };
    let (general, bucket, tls) = (&config.general, &config.bucket, &config.tls);
    refuse(
        tls.certificate.is_some() && tls.key.is_none(),
        "tls.certificate is set without tls.key: TLS needs both files",
    );
    refuse(
        tls.key.is_some() && tls.certificate.is_none(),
        "tls.key is set without tls.certificate: TLS needs both files",
    );
    refuse(
        general.secret_key.is_some() && general.secret_key_file.is_some(),
        "secret_key and secret_key_file are both set: keep one of them",
    );
    refuse(
        general.region.is_some() && general.domain.is_none(),
        "region is set without domain: it is used only in the host names under a domain",
    );
    let private = &config.private;
    refuse(
        private.certificate.is_some() != private.key.is_some(),
        "private.certificate and private.key go together: TLS needs both files",
    );
    refuse(
        private.listen.is_empty() && (private.external_url.is_some() || private.certificate.is_some()),
        "private.external_url or private.certificate is set without private.listen: give private clients an address to come to",
    );
    refuse(
        private.external_url.is_some() && private.external_url == general.external_url,
        "private.external_url is that of external_url: private clients need a name of their own, or they are sent outside",
    );
    let is_public = |address: &_| general.listen.contains(address) || config.metrics.listen == Some(*address);
    refuse(
        private.listen.iter().any(|address| address.port() != 0 && is_public(address)),
        "private.listen names an address of listen or metrics.listen: give it an address or a port of its own",
    );
    let mut listen = general.listen.clone();
    listen.sort();
    let twice = listen.windows(2).any(|pair| pair[0] == pair[1] && pair[0].port() != 0);
    refuse(twice, "listen names the same address twice");
    refuse(
        config.metrics.listen.is_some_and(|address| address.port() != 0 && listen.contains(&address)),
        "metrics.listen is one of the addresses of listen: give it an address or a port of its own",
    );
    refuse(
        config.initial.key_id.is_some() && config.initial.key_secret.is_none(),
        "initial.key_id is set without initial.key_secret: set both, or neither to have them made up",
    );
    refuse(
        config.initial.key_secret.is_some() && config.initial.key_id.is_none(),
        "initial.key_secret is set without initial.key_id: set both, or neither to have them made up",
    );
    refuse(
        config.limits.http2_connection_window_bytes < config.limits.http2_window_bytes,
        "limits.http2_connection_window_bytes is smaller than limits.http2_window_bytes: a connection must hold one stream",
    );
    refuse(
        matches!(config.database.url.as_ref().map(|url| url.expose()), Some(DatabaseAddress::Postgres(_)))
            && bucket.kind == BucketType::Directory
            && bucket.path.is_none()
            && bucket.shared,
        "bucket.shared is set without bucket.path: name the directory that all nodes share",
    );
    check_bucket(config, bucket, &mut refuse);
    refuse(
        bucket.exclusive,
        "bucket.exclusive is set: the default bucket is for all registries that name none; name a bucket for one registry alone in [buckets.NAME]",
    );
    for (name, bucket) in &config.buckets {
        let section = format!("{FURTHER_BUCKETS}.{name}.");
        let mut refuse = |wrong: bool, words: &str| refuse(wrong, &words.replace("bucket.", &section));
        check_bucket(config, bucket, &mut refuse);
        refuse(
            bucket.kind == BucketType::Directory && bucket.path.is_none(),
            "bucket.path is not set: a further bucket of the kind `directory` needs a directory of its own",
        );
    }
    check_tokens(config, &mut refuse);
    let mut places: Vec<_> = config.all_buckets().map(|(_, bucket)| config.place_of(bucket)).collect();
    places.sort();
    let twice = places.windows(2).any(|pair| pair[0] == pair[1]);
    refuse(twice, "two buckets are the same place: each needs one of its own");
}

/// Sign-in at a provider, and tokens of a CI.
fn check_tokens(config: &Config, refuse: &mut impl FnMut(bool, &str)) {
    let (oidc, ci) = (&config.oidc, &config.ci);
    refuse(oidc.issuer.is_some() && oidc.client_id.is_none(), "oidc.issuer is set without oidc.client_id");
    let alone = oidc.issuer.is_none()
        && (oidc.client_id.is_some() || oidc.administrators.is_some() || oidc.make_people || !oidc.roles.is_empty());
    refuse(alone, "oidc.client_id, oidc.roles, oidc.administrators or oidc.make_people is set without oidc.issuer");
    let is_plain = |issuer: &String| !issuer.starts_with("https://");
    refuse(
        oidc.issuer.as_ref().is_some_and(is_plain) && !oidc.internal,
        "oidc.issuer does not begin with `https://`: that is allowed inside the network only, where oidc.internal is set",
    );
    refuse(
        ci.issuers.iter().any(is_plain),
        "ci.issuers names one that does not begin with `https://`: that is allowed inside the network only, in ci.internal_issuers",
    );
    let mut all: Vec<_> = ci.issuers.iter().chain(&ci.internal_issuers).collect();
    all.sort();
    refuse(
        all.windows(2).any(|pair| pair[0] == pair[1]),
        "ci.issuers and ci.internal_issuers name the same issuer twice",
    );
}

/// What must hold for each bucket; `bucket.` in the words stands for its section.
fn check_bucket(config: &Config, bucket: &Bucket, refuse: &mut impl FnMut(bool, &str)) {
    refuse(
        3 * config.limits.memory_mib < 8 * bucket.part_mib,
        "bucket.part_mib is more than three eighths of limits.memory_mib, which is what uploads may use",
    );
    refuse(
        config.limits.blob_bytes > bucket.part_mib.saturating_mul(1 << 20).saturating_mul(640_000),
        "limits.blob_bytes is more than parts of bucket.part_mib can hold: raise bucket.part_mib",
    );
    let (directory, s3) = (bucket.kind == BucketType::Directory, bucket.kind == BucketType::S3);
    refuse(!directory && bucket.name.is_none(), "bucket.kind is an object storage but bucket.name is not set");
    refuse(!directory && bucket.path.is_some(), "bucket.path is set, but bucket.kind is not `directory`");
    refuse(!directory && bucket.shared, "bucket.shared is set, but bucket.kind is not `directory`");
    refuse(
        directory && (bucket.name.is_some() || bucket.endpoint.is_some()),
        "bucket.name or bucket.endpoint is set, but bucket.kind is `directory`: did you mean bucket.kind = \"s3\"?",
    );
    refuse(
        bucket.access_key_id.is_some() != bucket.secret_access_key.is_some(),
        "bucket.access_key_id and bucket.secret_access_key go together: set both, or neither to use the machine's own credentials",
    );
    refuse(!s3 && bucket.access_key_id.is_some(), "bucket.access_key_id is set, but bucket.kind is not `s3`");
    refuse(!s3 && bucket.virtual_host_style, "bucket.virtual_host_style is set, but bucket.kind is not `s3`");
    refuse(
        bucket.session_token.is_some() && bucket.access_key_id.is_none(),
        "bucket.session_token is set without bucket.access_key_id and bucket.secret_access_key",
    );
    refuse(
        bucket.kind != BucketType::Gcs && bucket.google_credentials_file.is_some(),
        "bucket.google_credentials_file is set, but bucket.kind is not `gcs`",
    );
    refuse(
        bucket.kind == BucketType::Azure && bucket.azure_account.is_none(),
        "bucket.kind is `azure` but bucket.azure_account is not set",
    );
    refuse(
        bucket.kind != BucketType::Azure && (bucket.azure_account.is_some() || bucket.azure_access_key.is_some()),
        "bucket.azure_account or bucket.azure_access_key is set, but bucket.kind is not `azure`",
    );
    refuse(
        directory && bucket.signing_endpoint.is_some(),
        "bucket.signing_endpoint is set, but bucket.kind is `directory`, which always streams",
    );
    refuse(
        directory && bucket.private_signing_endpoint.is_some(),
        "bucket.private_signing_endpoint is set, but bucket.kind is `directory`, which always streams",
    );
}
