//! JSON read in the one way in which everybody reads it.
//!
//! The bytes of a manifest are kept as they came, and clients read them with parsers of their own. Where a name comes twice, one parser
//! takes the first value and another the last; Go's takes `Config` for `config`. So that what is checked here is what a client pulls,
//! such a manifest is refused (protocol.md F13).

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::value::MapAccessDeserializer,
    de::{DeserializeSeed, Error as _, IntoDeserializer as _, MapAccess, SeqAccess, Visitor},
};

use super::{MAX_ANNOTATIONS, MAX_DESCRIPTORS, shorten};

/// What is read of an object.
pub(super) trait Members {
    /// The names of its members that are read.
    const NAMES: &'static [&'static str];
}

/// A JSON object whose members come once and are written as they should be. What serde derives would also take an array of the members
/// in their order.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de> + Members> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Members> Visitor<'de> for Whole<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(Exact { members, names: T::NAMES }))
            }
        }
        deserializer.deserialize_map(Whole(PhantomData)).map(Self)
    }
}

/// The members of an object, none of which another parser could take for one that is read. That each comes once is what serde derives.
struct Exact<A> {
    members: A,
    names: &'static [&'static str],
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Exact<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(Text(name)) = self.members.next_key::<Text<'de>>()? else { return Ok(None) };
        if let Some(meant) = self.names.iter().find(|known| **known != name && is_variant(&name, known)) {
            return Err(A::Error::custom(format_args!("the member {:?} must be written {meant:?}", shorten(&name))));
        }
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.members.next_value_seed(seed)
    }
}

/// Whether a parser that doesn't look at the case of letters (Go's `encoding/json`) takes `name` for `known`. Two characters beyond
/// ASCII fold to letters of it.
fn is_variant(name: &str, known: &str) -> bool {
    let fold = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    name.chars().map(fold).eq(known.chars().map(fold))
}

/// A text, borrowed where it can be.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A list of things that a manifest names, bounded while it is read: a short entry takes many times its bytes in memory.
pub(super) struct List<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = Vec<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    if list.len() == MAX_DESCRIPTORS {
                        return Err(A::Error::custom(format_args!("more than {MAX_DESCRIPTORS} entries")));
                    }
                    list.push(item);
                }
                Ok(list)
            }
        }
        deserializer.deserialize_seq(Items(PhantomData)).map(Self)
    }
}

/// Whether a list of texts has any; they themselves are not kept.
pub(super) struct Filled(pub(super) bool);

impl<'de> Deserialize<'de> for Filled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = bool;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON array of texts")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<bool, A::Error> {
                let mut filled = false;
                while texts.next_element::<Text<'de>>()?.is_some() {
                    filled = true;
                }
                Ok(filled)
            }
        }
        deserializer.deserialize_seq(Texts).map(Self)
    }
}

/// Names and values, each name once.
pub(super) struct Unique(pub(super) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = BTreeMap<String, String>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object of texts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut unique = BTreeMap::new();
                while let Some((name, value)) = members.next_entry::<String, String>()? {
                    if unique.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("duplicate name {:?}", shorten(&name))));
                    }
                    if unique.len() == MAX_ANNOTATIONS {
                        return Err(A::Error::custom(format_args!("more than {MAX_ANNOTATIONS} annotations")));
                    }
                    unique.insert(name, value);
                }
                Ok(unique)
            }
        }
        deserializer.deserialize_map(Pairs).map(Self)
    }
}
