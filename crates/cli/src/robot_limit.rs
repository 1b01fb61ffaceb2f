//! What a robot may do, as it is typed: `ACTIONS[:REGISTRY[/PATTERN]]`.

use serde_json::Value;

use crate::typed::Body;

/// How it is explained.
pub(crate) const FORM: &str = "ACTIONS[:REGISTRY[/PATTERN]]";

/// The limit that a text means: `pull,push:shop-images/web/**`. Without a registry, or with `*`, in each of the project; without a pattern on
/// all repositories. What is wrong in it the service says.
pub(crate) fn read(text: &str) -> Value {
    let (actions, place) = text.split_once(':').unwrap_or((text, ""));
    let actions: Vec<_> = actions.split(',').map(|action| Value::from(action.trim())).collect();
    let (registry, pattern) = place.split_once('/').unwrap_or((place, ""));
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Body::default()
        .with("actions", Some(actions))
        .with("registry", given(registry).filter(|registry| registry != "*"))
        .with("repositories", given(pattern))
        .value()
}

/// The text of a limit, as it is typed.
pub(crate) fn show(limit: &Value) -> String {
    let part = |name: &str| limit[name].as_str();
    let actions = limit["actions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let actions = actions.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",");
    match (part("registry"), part("repositories")) {
        (None, None) => actions,
        (registry, None) => format!("{actions}:{}", registry.unwrap_or("*")),
        (registry, Some(pattern)) => format!("{actions}:{}/{pattern}", registry.unwrap_or("*")),
    }
}

/// The texts of several.
pub(crate) fn show_all(limits: &Value) -> String {
    limits.as_array().map(|all| all.iter().map(show).collect::<Vec<_>>().join(" ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_typed_is_what_is_shown() {
        for (text, limit) in [
            ("pull", json!({"actions": ["pull"]})),
            ("pull,push:shop", json!({"actions": ["pull", "push"], "registry": "shop"})),
            ("pull:*/base/*", json!({"actions": ["pull"], "repositories": "base/*"})),
            ("push:shop/web/**", json!({"actions": ["push"], "registry": "shop", "repositories": "web/**"})),
        ] {
            assert_eq!(read(text), limit, "{text}");
            assert_eq!(show(&limit), text);
        }
        assert_eq!(read("pull:*"), json!({"actions": ["pull"]}));
        assert_eq!(show_all(&json!([{"actions": ["pull"]}, {"actions": ["push"], "registry": "x"}])), "pull push:x");
    }
}
