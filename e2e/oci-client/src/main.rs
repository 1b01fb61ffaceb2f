//! A command for what the crate `oci-client` does, so that a recipe can say it.
//!
//! Logs in with `KEY_ID` and `KEY_SECRET`, as nobody without them.
use std::error::Error;
use std::path::Path;

use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{IMAGE_CONFIG_MEDIA_TYPE, IMAGE_LAYER_GZIP_MEDIA_TYPE};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

const USAGE: &str = "\
push [--monolithic] REFERENCE FILE...   each file a layer; prints the digest
pull REFERENCE DIRECTORY                each layer a file named by its number; prints the digest
digest REFERENCE
tags REFERENCE
mount REFERENCE SOURCE DIGEST           a blob of SOURCE into REFERENCE's repository
referrers REFERENCE                     by digest; prints artifact types";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let monolithic = words.iter().any(|word| word == "--monolithic");
    words.retain(|word| word != "--monolithic");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();

    let auth = match (std::env::var("KEY_ID"), std::env::var("KEY_SECRET")) {
        (Ok(id), Ok(secret)) => RegistryAuth::Basic(id, secret),
        _ => RegistryAuth::Anonymous,
    };
    let client = Client::try_from(ClientConfig {
        protocol: ClientProtocol::Http,
        use_monolithic_push: monolithic,
        ..ClientConfig::default()
    })?;

    match words.as_slice() {
        ["push", reference, files @ ..] => {
            let mut layers = Vec::new();
            for file in files {
                let media_type = IMAGE_LAYER_GZIP_MEDIA_TYPE.to_owned();
                layers.push(ImageLayer::new(std::fs::read(file)?, media_type, None));
            }
            let config = Config::new(
                r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#,
                IMAGE_CONFIG_MEDIA_TYPE.to_owned(),
                None,
            );
            let reference: Reference = reference.parse()?;
            client.push(&reference, &layers, config, &auth, None).await?;
            println!("{}", client.fetch_manifest_digest(&reference, &auth).await?);
        }
        ["pull", reference, directory] => {
            let accepted = vec![IMAGE_LAYER_GZIP_MEDIA_TYPE];
            let image = client.pull(&reference.parse()?, &auth, accepted).await?;
            let manifest = image.manifest.ok_or("no manifest")?;
            // They come in the order in which they arrive.
            for layer in image.layers {
                let digest = layer.sha256_digest();
                let number = manifest.layers.iter().position(|each| each.digest == digest);
                let number = number.ok_or("a layer that the manifest doesn't name")?;
                std::fs::write(Path::new(directory).join(number.to_string()), &layer.data)?;
            }
            println!("{}", image.digest.ok_or("no digest")?);
        }
        ["digest", reference] => {
            println!("{}", client.fetch_manifest_digest(&reference.parse()?, &auth).await?);
        }
        ["tags", reference] => {
            let answer = client.list_tags(&reference.parse()?, &auth, None, None).await?;
            println!("{}", answer.tags.join(" "));
        }
        ["mount", reference, source, digest] => {
            let reference: Reference = reference.parse()?;
            client.store_auth_if_needed(reference.resolve_registry(), &auth).await;
            client.mount_blob(&reference, &source.parse()?, digest).await?;
        }
        ["referrers", reference] => {
            let reference: Reference = reference.parse()?;
            client.store_auth_if_needed(reference.resolve_registry(), &auth).await;
            for each in client.pull_referrers(&reference, None).await?.manifests {
                println!("{}", each.artifact_type.unwrap_or_default());
            }
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}
