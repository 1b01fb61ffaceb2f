//! What can be typed, one file for each noun.

mod artifact;
mod audit;
mod bucket;
mod completion;
mod context;
mod image;
pub mod key;
mod login;
mod logout;
mod member;
mod person;
mod project;
mod quota;
pub mod registry;
mod robot;
mod robot_key;
mod robot_trust;
mod tag;
mod trash;
mod whoami;

use clap::Subcommand;

use crate::{Flags, World, failure::Failure, session::Session};

pub use completion::completion;

/// What can be done at a service.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Sign in at a service with an access key, and stay signed in
    #[command(after_help = "Examples:
  roadstead login https://registry.example.com        asks for id and secret of an access key
  roadstead login registry.example.com --key-id RSKXXXXXXXXXXXXXXXXX --secret-stdin < secret
  roadstead login https://registry.internal --ca-file ca.pem --context inside

The key is kept in $XDG_CONFIG_HOME/roadstead/contexts.toml, for you alone. In CI set ROADSTEAD_URL, ROADSTEAD_KEY_ID and ROADSTEAD_SECRET instead.")]
    Login(login::Arguments),
    /// Forget a service and the key to it
    #[command(after_help = "Examples:
  roadstead logout
  roadstead logout --context inside
  roadstead logout --all")]
    Logout(logout::Arguments),
    /// The services that are signed in at: list, use
    #[command(after_help = "Examples:
  roadstead context list
  roadstead context use inside                        from now on commands go there
  roadstead registry list --context other             this one goes elsewhere")]
    Context {
        /// What to do
        #[command(subcommand)]
        command: context::Command,
    },
    /// Show whose key is used, and where
    #[command(after_help = "Examples:
  roadstead whoami
  roadstead whoami -o json")]
    Whoami,
    /// Registries: list, show, create, change, delete, restore
    #[command(after_help = "Examples:
  roadstead registry create team               images are then HOST/team/NAME, for people with an access key
  roadstead registry create public --public    anyone may pull, people with an access key push
  roadstead registry list
  roadstead registry show team -o json
  roadstead registry change team --description \"all images of the team\" --public false
  roadstead registry delete team               asks for the name again; it goes to the trash
  roadstead registry list --local              the service of this machine, without signing in")]
    Registry {
        /// What to do
        #[command(subcommand)]
        command: registry::Command,
    },
    /// Images of a registry: list, show, pulls, change, delete
    #[command(after_help = "Examples:
  roadstead image list team --sort -pulls
  roadstead image show team/app
  roadstead image pulls team/app --from 2026-11-01     how often it was pulled, day by day
  roadstead image change team/app --description \"The web shop\" --mutable-tags false
  roadstead image delete team/app              asks for the name again; it goes to the trash")]
    Image {
        /// What to do
        #[command(subcommand)]
        command: image::Command,
    },
    /// Artifacts of an image, each named by its digest: list, show, delete, referrers
    #[command(after_help = "Examples:
  roadstead artifact list team/app --tagged false
  roadstead artifact show team/app:1.4
  roadstead artifact referrers team/app:1.4    signatures, SBOMs
  roadstead artifact delete team/app@sha256:...")]
    Artifact {
        /// What to do
        #[command(subcommand)]
        command: artifact::Command,
    },
    /// Tags of an image: list, show, create, delete, history
    #[command(after_help = "Examples:
  roadstead tag list team/app --sort -changed
  roadstead tag create team/app:stable --from 1.4
  roadstead tag create team/app:stable --from sha256:...
  roadstead tag history team/app:stable
  roadstead tag delete team/app:old team/app:older --yes")]
    Tag {
        /// What to do
        #[command(subcommand)]
        command: tag::Command,
    },
    /// What was deleted in a registry: list, restore, delete, empty
    #[command(after_help = "Examples:
  roadstead trash list team
  roadstead trash restore team ENTRY --tags replace
  roadstead trash empty team                   gone for good
  roadstead registry restore team              a whole registry")]
    Trash {
        /// What to do
        #[command(subcommand)]
        command: trash::Command,
    },
    /// Your access keys: list, create, delete
    #[command(after_help = "Examples:
  roadstead key create --description \"build server\"    prints id and secret, the secret only this once
  roadstead key list
  roadstead key delete RSKXXXXXXXXXXXXXXXXX           from its next request on it is refused
  roadstead key create --local --person ada           on the machine of a service: a key for somebody else")]
    Key {
        /// What to do
        #[command(subcommand)]
        command: key::Command,
    },
    /// Roles of people in a project or on a registry: list, create, change, delete
    #[command(after_help = "Examples:
  roadstead member list --project shop
  roadstead member create ada --role manager --project shop
  roadstead member change ada --role viewer --registry shop-images
  roadstead member delete ada --project shop --yes")]
    Member {
        /// What to do
        #[command(subcommand)]
        command: member::Command,
    },
    /// Projects: list, show, create, change, delete, usage
    #[command(after_help = "Examples:
  roadstead project create shop --description \"The web shop\"
  roadstead project usage shop
  roadstead project delete shop")]
    Project {
        /// What to do
        #[command(subcommand)]
        command: project::Command,
    },
    /// How much a project or a registry may hold: show, change
    #[command(after_help = "Examples:
  roadstead quota show --project shop
  roadstead quota show --registry shop-images -o json
  roadstead quota change --project shop --registries 20 --bytes 500GB
  roadstead quota change --registry shop-images --images 1000 --bytes none")]
    Quota {
        /// What to do
        #[command(subcommand)]
        command: quota::Command,
    },
    /// Buckets, where the bytes of layers lie: list, show, check
    #[command(after_help = "Examples:
  roadstead bucket list
  roadstead bucket show default -o json
  roadstead bucket check default               writes, reads and deletes what a service would; 1 if something does not work")]
    Bucket {
        /// What to do
        #[command(subcommand)]
        command: bucket::Command,
    },
    /// People: list, show, create, change, delete, password, identity
    #[command(after_help = "Examples:
  roadstead person create ada --full-name \"Ada Lovelace\" --email ada@example.com
  roadstead person password ada                asks for it twice
  roadstead person password                    your own
  roadstead person change ada --barred true    none of their keys works
  roadstead person delete ada")]
    Person {
        /// What to do
        #[command(subcommand)]
        command: person::Command,
    },
    /// Robots, as which programs sign in: list, show, create, change, delete, and their keys and trusts
    #[command(after_help = "Examples:
  roadstead robot create shop/ci --description \"The build server\"
  roadstead robot key create shop/ci --allow 'pull,push:shop-images/web/**' --allow 'pull:*/base/*' --days 365
  roadstead robot trust create shop/ci --issuer https://token.actions.githubusercontent.com \\
      --audience https://registry.example.com --claim repository=acme/app --allow pull,push:shop-images
  roadstead robot change shop/ci --disabled true")]
    Robot {
        /// What to do
        #[command(subcommand)]
        command: robot::Command,
    },
    /// What was changed, by whom, from where: list, export
    #[command(after_help = "Examples:
  roadstead audit list --limit 20
  roadstead audit list --who ada --since 7d
  roadstead audit list --what member --since 2026-11-01 --until 2026-12-01 -o json
  roadstead audit export --project shop --format csv > audit.csv")]
    Audit {
        /// What to do
        #[command(subcommand)]
        command: audit::Command,
    },
    /// Print what makes a shell complete commands
    #[command(after_help = "Examples:
  source <(roadstead completion bash)
  roadstead completion zsh > \"${fpath[1]}/_roadstead\"
  roadstead completion fish > ~/.config/fish/completions/roadstead.fish")]
    Completion {
        /// The shell
        shell: completion::Shell,
    },
}

pub(crate) async fn run(verb: Verb, flags: &Flags, world: &World) -> Result<(), Failure> {
    let session = || Session::open(flags, world);
    match verb {
        Verb::Login(arguments) => login::run(arguments, flags, world).await,
        Verb::Logout(arguments) => logout::run(&arguments, flags, world),
        Verb::Context { command } => context::run(command, flags, world),
        Verb::Whoami => whoami::run(&session()?).await,
        Verb::Registry { command } => registry::run(command, &session()?).await,
        Verb::Image { command } => image::run(command, &session()?).await,
        Verb::Artifact { command } => artifact::run(command, &session()?).await,
        Verb::Tag { command } => tag::run(command, &session()?).await,
        Verb::Trash { command } => trash::run(command, &session()?).await,
        Verb::Key { command } => key::run(command, &session()?).await,
        Verb::Member { command } => member::run(command, &session()?).await,
        Verb::Project { command } => project::run(command, &session()?).await,
        Verb::Quota { command } => quota::run(command, &session()?).await,
        Verb::Bucket { command } => bucket::run(command, &session()?).await,
        Verb::Person { command } => person::run(command, &session()?).await,
        Verb::Robot { command } => robot::run(command, &session()?).await,
        Verb::Audit { command } => audit::run(command, &session()?).await,
        // It is about all that can be typed, which only the program knows.
        Verb::Completion { .. } => Err(Failure::other("this program completes nothing")),
    }
}
