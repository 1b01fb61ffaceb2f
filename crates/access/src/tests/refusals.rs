//! Refused access keys in the audit log: added up, and no more lines than that, whoever tries from wherever.

use std::net::Ipv6Addr;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::*;

async fn lines(world: &World) -> Vec<(String, String, i64)> {
    let refused = audit::Filter { what: "key.refused".to_owned(), ..audit::Filter::default() };
    let found = audit::list(&world.db, &refused, 1000).await.unwrap().rows;
    let times = |after: Option<String>| after.unwrap().parse().unwrap();
    let mut found: Vec<_> = found.into_iter().map(|line| (line.object, line.by.from, times(line.after))).collect();
    found.sort();
    found
}

#[test]
fn nobody_can_fill_the_log() {
    on_each_engine(async |world| {
        let (node, key) = world.with_administrator().await;
        let first = key.key_id;
        let attempt = async |id: &str, from: IpAddr| {
            let header = format!("Basic {}", STANDARD.encode(format!("{id}:not-its-secret")));
            node.authenticate(Some(&header), HOST, from).await.unwrap_err();
        };
        // One household has a whole /64.
        for host in 0..50 {
            attempt(&first, Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host).into()).await;
        }
        node.write_refusals().await.unwrap();
        attempt(&first, Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 99).into()).await;
        attempt("RSKTHEREISNONE", FROM).await;
        attempt("no key id can look so", FROM).await;
        node.write_refusals().await.unwrap();
        assert_eq!(lines(&world).await, [(first.clone(), "2001:db8:0:1::/64".to_owned(), 51)]);
        // Who has many networks is one from the hundredth on.
        for net in 0..150 {
            attempt(&first, Ipv6Addr::new(0x2001, 0xdb8, 1, net, 0, 0, 0, 1).into()).await;
        }
        node.write_refusals().await.unwrap();
        let told = lines(&world).await;
        assert_eq!((told.len(), told.iter().map(|(.., times)| times).sum::<i64>()), (101, 201));
        assert!(told.contains(&(first, "elsewhere".to_owned(), 51)), "{told:?}");
    });
}
