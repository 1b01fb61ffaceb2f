//! From where a request comes, and so what there is for it (product.md 2).

/// The kind of listener that a request came in by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reach {
    /// One that the world may reach. Registries whose public endpoint is off are not there.
    #[default]
    Public,
    /// One inside the network. All registries are there.
    Private,
}
