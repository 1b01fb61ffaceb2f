//! What the settings of an S3 bucket do to objects: object lock keeps those that were deleted, life-cycle rules take those that were not.

use http::StatusCode;

use super::Objects;
use crate::words::element;

/// What the keys of all our objects begin with, one or the other.
const OURS: [&str; 2] = ["objects/", "roadstead-"];

/// What is wrong, in words. Settings that can't be read are right: nothing else needs that right, and not every store has them.
pub(crate) async fn trouble(objects: &Objects) -> Option<String> {
    let lock = read(objects, "object-lock").await.unwrap_or_default();
    if element(&lock, "ObjectLockEnabled") == Some("Enabled") {
        let words = "object lock is on, so what is deleted stays stored, and its space is never reclaimed: use a bucket without object lock";
        return Some(words.to_owned());
    }
    removing_rule(&read(objects, "lifecycle").await?)
}

async fn read(objects: &Objects, setting: &str) -> Option<String> {
    let address = objects.settings_address(setting).await.ok()??;
    let answer = objects.http().get(address).send().await.ok()?;
    if answer.status() == StatusCode::OK { answer.text().await.ok() } else { None }
}

/// The first rule of a life-cycle configuration that removes objects of ours.
fn removing_rule(lifecycle: &str) -> Option<String> {
    let rules = lifecycle.split("<Rule>").skip(1).filter_map(|rest| rest.split("</Rule>").next());
    let rule = { rules }.find(|rule| removes(rule) && concerns_us(rule))?;
    let id = element(rule, "ID").unwrap_or_default();
    Some(format!(
        "its life-cycle rule {id:?} removes objects, which images then lack: take the rule away (one that only aborts incomplete uploads is welcome)"
    ))
}

fn removes(rule: &str) -> bool {
    let expiration = rule.split_once("<Expiration>").and_then(|(_, rest)| rest.split("</Expiration>").next());
    let removes = |it: &str| element(it, "Days").is_some() || element(it, "Date").is_some();
    element(rule, "Status") == Some("Enabled") && expiration.is_some_and(removes)
}

/// We set no tags, so what asks for one finds none of ours.
fn concerns_us(rule: &str) -> bool {
    let prefix = element(rule, "Prefix").unwrap_or_default();
    !rule.contains("<Tag>") && OURS.iter().any(|ours| ours.starts_with(prefix) || prefix.starts_with(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_removes_objects_of_ours_is_named() {
        let rule = |inside: &str| {
            let first = "<Rule><ID>first</ID><Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>";
            removing_rule(&format!(
                "<LifecycleConfiguration>{first}<Rule><ID>old</ID>{inside}</Rule></LifecycleConfiguration>"
            ))
        };
        let days = "<Expiration><Days>30</Days></Expiration>";
        let on = "<Status>Enabled</Status>";
        for wrong in [
            format!("{on}{days}"),
            format!("<Filter/>{on}{days}"),
            format!("<Prefix></Prefix>{on}{days}"),
            format!(
                "<Filter><Prefix>obj</Prefix></Filter>{on}<Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>"
            ),
            format!(
                "<Filter><And><Prefix>objects/ab</Prefix><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan></And></Filter>{on}{days}"
            ),
            format!("<Filter><Prefix>roadstead</Prefix></Filter>{on}{days}"),
        ] {
            assert!(rule(&wrong).is_some_and(|words| words.contains("\"old\"")), "{wrong}");
        }
        for right in [
            format!("<Status>Disabled</Status>{days}"),
            format!("<Filter><Prefix>logs/</Prefix></Filter>{on}{days}"),
            format!("<Filter><And><Prefix></Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And></Filter>{on}{days}"),
            format!("{on}<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"),
            format!(
                "{on}<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"
            ),
        ] {
            assert_eq!(rule(&right), None, "{right}");
        }
    }
}
