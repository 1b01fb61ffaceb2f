//! The reference page, made from the table. `docs/configuration.md` is its committed copy.

use std::fmt::Write as _;

use super::settings::{SECTIONS, Setting, all};

const OPENING: &str = "\
<!-- Made by `roadstead config reference`; a test compares this file with the code. -->

# Configuration

Nothing needs to be configured to start. Each setting can be given in a TOML file (`--config FILE`, or the variable
`ROADSTEAD_CONFIG`) or in the environment; `listen` and `data_dir` are flags of `roadstead serve` too. A flag wins over
the environment, the environment over the file, the file over the default.

A name or value that is not known is refused at the start, with what would be right. `roadstead config check` reads
everything, then tries the database, the bucket and the clock.

A list is an array in the file, and separated by commas in the environment. An empty text is the same as not set.
Variables that Kubernetes makes for a Service called `roadstead` (`ROADSTEAD_PORT`, `ROADSTEAD_PORT_...`,
`ROADSTEAD_SERVICE_...`) and those of the project's own tests (`ROADSTEAD_TEST_...`) are left alone.

```toml
listen = [\"0.0.0.0:5000\"]
external_url = \"https://registry.example.com\"

[database]
url = \"postgres://roadstead:PASSWORD@db.example.com/roadstead?sslmode=require\"

[bucket]
kind = \"s3\"
name = \"images\"
endpoint = \"https://s3.example.com\"
access_key_id = \"ID\"
secret_access_key = \"SECRET\"
```
";

const FURTHER: &str = "
### Further buckets: `[buckets.NAME]`

A registry can be made in another bucket than this one: `roadstead registry create REGISTRY --bucket NAME`. Such a bucket has the settings of
`[bucket]` in a section with its name (`[buckets.archive]`), or in variables (`ROADSTEAD_BUCKETS_ARCHIVE_KIND`; a `-` of the name is a `_` there).
All nodes need the same. The bucket in `[bucket]` is called `default`. A bucket can be taken out of the configuration once its registries
are gone for good and `gc.recovery_days` have passed.

```toml
[buckets.archive]
kind = \"directory\"
path = \"/mnt/archive\"
```
";

/// All settings as a Markdown page.
pub fn reference() -> String {
    let settings = all();
    let mut page = String::from(OPENING);
    for (section, about) in SECTIONS {
        let title = if *section == "general" { "At the top of the file".to_owned() } else { format!("`[{section}]`") };
        let _ = write!(page, "\n## {title}\n\n{about}\n");
        for setting in settings.iter().filter(|setting| setting.section == *section) {
            describe(setting, &mut page);
        }
        if *section == "bucket" {
            page.push_str(FURTHER);
        }
    }
    page
}

fn describe(setting: &Setting, page: &mut String) {
    let default = match setting.default {
        "" => "not set".to_owned(),
        default => format!("`{default}`"),
    };
    let secret = if setting.secret { " It is a secret and never shown." } else { "" };
    let form = &setting.form;
    let _ = write!(
        page,
        "\n### `{}`\n\n{}{secret}\n\n- Value: {form}\n- Default: {default}\n- Variable: `{}`\n",
        setting.name,
        setting.doc,
        setting.variable()
    );
}
