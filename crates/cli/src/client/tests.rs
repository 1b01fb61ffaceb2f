//! Paths, another try, and pages.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{
    Environment,
    output::{Format, Output, text},
    session::Session,
    tests::{Paper, Script, Standing, answer, problem},
    typed::Paging,
};

fn service() -> Service {
    let variables = [("ROADSTEAD_URL", "https://r.test"), ("ROADSTEAD_KEY_ID", "RSK"), ("ROADSTEAD_SECRET", "s")];
    Service::find(None, &Environment::of(&variables)).expect("right").expect("named")
}

/// What comes of a request for these answers, how often it was sent, and what was waited for.
async fn sent(method: &'static str, answers: Vec<Answer>) -> (Result<Value, Failure>, usize, Vec<u64>) {
    let (script, clock, paper) = (Script::new(answers), Standing::default(), Paper::default());
    let client = Client::new(&service(), Box::new(script.clone()), &clock, &paper);
    let outcome = client.send(method, &Path::of(&["me"]), None).await;
    (outcome, script.asked().len(), clock.waited().iter().map(Duration::as_secs).collect())
}

#[test]
fn names_are_one_segment() {
    let url = |path: Path| path.url(&service().url).map(|url| url.to_string());
    let path = Path::of(&["registries", "team", "repositories", "a/b c", "tags", "v1"]);
    assert_eq!(url(path).expect("right"), "https://r.test/api/v1/registries/team/repositories/a%2Fb%20c/tags/v1");
    let path = Path::of(&["audit"]).with("who", Some("a&b=c")).with("what", None::<&str>);
    assert_eq!(url(path).expect("right"), "https://r.test/api/v1/audit?who=a%26b%3Dc");
    for name in ["", ".", ".."] {
        assert_eq!(url(Path::of(&["registries", name])).expect_err(name).code(), Code::Usage);
    }
    assert!(url(Path::of(&["registries", "?x#y%2e"])).expect("escaped").ends_with("/registries/%3Fx%23y%252e"));
}

#[tokio::test]
async fn a_busy_service_is_asked_again_when_it_says() {
    let busy = || problem(429, Some("3"));
    let (outcome, times, waited) = sent("GET", vec![busy(), problem(503, None), answer(&json!({"a": 1}))]).await;
    assert_eq!((outcome.expect("at last"), times, waited), (json!({"a": 1}), 3, vec![3, 1]));
    // Not for ever.
    let (outcome, times, waited) = sent("PUT", vec![busy(), busy(), busy(), busy(), busy()]).await;
    assert_eq!((outcome.expect_err("busy").code(), times, waited.len()), (Code::Unavailable, 4, 3));
    // Nor for long.
    for wait in ["31", "Sat, 28 Nov 2026 12:00:00 GMT"] {
        let (outcome, times, _) = sent("DELETE", vec![problem(503, Some(wait))]).await;
        assert_eq!((outcome.expect_err("busy").code(), times), (Code::Unavailable, 1), "{wait}");
    }
}

#[tokio::test]
async fn what_may_not_be_done_twice_is_sent_once() {
    for method in ["POST", "PATCH"] {
        let (outcome, times, _) = sent(method, vec![problem(503, Some("1"))]).await;
        assert_eq!((outcome.expect_err("busy").code(), times), (Code::Unavailable, 1), "{method}");
    }
    let (outcome, times, _) = sent("GET", vec![problem(500, Some("1"))]).await;
    assert_eq!((outcome.expect_err("broken").code(), times), (Code::Other, 1));
}

#[tokio::test]
async fn a_redirect_gets_no_secret() {
    let elsewhere = Answer { status: 301, location: Some("https://other.test/".to_owned()), ..Answer::default() };
    let (outcome, times, _) = sent("GET", vec![elsewhere]).await;
    assert!(outcome.expect_err("elsewhere").words().contains("https://other.test/") && times == 1);
}

/// What is shown of these pages, and what was asked.
async fn listed(limit: Option<u64>, pages: &[Value]) -> (String, Vec<String>) {
    let (script, clock, paper) = (Script::new(pages.iter().map(answer)), Standing::default(), Paper::default());
    let client = Client::new(&service(), Box::new(script.clone()), &clock, &paper);
    let output = Output::new(&paper, Format::Table, clock.now());
    let session = Session { client, service: service(), output, terminal: &paper };
    let paging = Paging { limit, page_size: 2 };
    session
        .list(&Path::of(&["people"]).with("q", Some("x")), paging, &[text("n", "/n")], "none")
        .await
        .expect("a list");
    (paper.printed(), script.asked())
}

#[tokio::test]
async fn all_pages_are_one_list() {
    let item = |n: u32| json!({"n": n.to_string()});
    let pages = [
        json!({"items": [item(1), item(2)], "next": "a"}),
        // A filter may leave nothing of a page.
        json!({"items": [], "next": "b"}),
        json!({"items": [item(3)]}),
    ];
    let (shown, asked) = listed(None, &pages).await;
    assert_eq!(shown, "N\n1\n2\n3\n");
    assert_eq!(asked[1], "GET https://r.test/api/v1/people?q=x&limit=2&after=a");
    assert_eq!(asked.len(), 3);
    // No more is asked for than is wanted.
    let (shown, asked) = listed(Some(1), &pages).await;
    assert_eq!((shown.as_str(), asked.len()), ("N\n1\n", 1));
    assert!(asked[0].ends_with("limit=1"));
    assert_eq!(listed(Some(3), &pages).await.0, "N\n1\n2\n3\n");
    assert_eq!(listed(None, &[json!({"items": []})]).await.0, "none\n");
}
