//! While clients ask for next to nothing, memory is given back to the system.

use std::time::Duration;

use crate::metrics::Metrics;

/// How often it is looked whether there is rest.
const EVERY: Duration = Duration::from_secs(15);
/// Fewer bytes than these between two looks are rest: a supervisor may ask for the health of the node.
const FEW: u64 = 64 << 10;

/// Gives memory back whenever there is rest after something was asked for. Ends only by being dropped.
pub(crate) async fn give_back_at_rest(metrics: Metrics) {
    let mut rest = Rest::default();
    loop {
        tokio::time::sleep(EVERY).await;
        if !rest.has_come(metrics.traffic()) {
            continue;
        }
        match tokio::task::spawn_blocking(roadstead_machine::memory::give_back).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "memory can't be given back"),
            Err(error) => tracing::warn!(%error, "giving memory back failed"),
        }
    }
}

/// The bytes that have come and gone, as they were at the last look and when memory was given back.
#[derive(Default)]
struct Rest {
    last: u64,
    given_back: Option<u64>,
}

impl Rest {
    fn has_come(&mut self, traffic: u64) -> bool {
        let is_quiet = traffic.saturating_sub(self.last) < FEW;
        self.last = traffic;
        let has_come = is_quiet && self.given_back != Some(traffic);
        if has_come {
            self.given_back = Some(traffic);
        }
        has_come
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_comes_once_after_each_time_of_work() {
        let mut rest = Rest::default();
        let looks = [(0, true), (0, false), (10 << 20, false), (20 << 20, false), (20 << 20, true), (20 << 20, false)];
        for (traffic, comes) in looks {
            assert_eq!(rest.has_come(traffic), comes, "{traffic}");
        }
        assert!(rest.has_come((20 << 20) + 100), "a supervisor is no work");
    }
}
