//! AWS Signature Version 4 of a request whose body is not signed: enough to make a bucket and look into it.

use aws_lc_rs::hmac;
use sha2::{Digest as _, Sha256};

use crate::{content::hex, http::Request};

/// Signs `request` for the S3 at `host`. `path_and_query` must be in canonical form: escaped, parameters sorted.
pub fn sign(request: Request, host: &str, region: &str, key_id: &str, secret: &str) -> Request {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = &now[..8];
    let payload = "UNSIGNED-PAYLOAD";
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let names = "host;x-amz-content-sha256;x-amz-date";
    let headers = format!("host:{host}\nx-amz-content-sha256:{payload}\nx-amz-date:{now}\n");
    let canonical = format!("{}\n{path}\n{query}\n{headers}\n{names}\n{payload}", request.method);
    let scope = format!("{day}/{region}/s3/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let mut key = mac(format!("AWS4{secret}").as_bytes(), day);
    for part in [region, "s3", "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = hex(&mac(&key, &to_sign));
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}");
    request
        .header("Host", host)
        .header("X-Amz-Date", &now)
        .header("X-Amz-Content-Sha256", payload)
        .header("Authorization", &authorization)
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}
