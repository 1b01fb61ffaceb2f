//! Takes the two files of the viewer that its page needs out of the packed whole, which is seven times as large.

use std::{env, error::Error, fs, io::Cursor, path::Path};

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

const FILES: [&str; 2] = ["swagger-ui.css", "swagger-ui-bundle.js"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let folder = env::var("OUT_DIR")?;
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for file in FILES {
        let ending = format!("/dist/{file}");
        let name = archive.file_names().find(|name| name.ends_with(&ending)).map(str::to_owned);
        let name = name.ok_or_else(|| format!("{file} is not in the package of the viewer"))?;
        let mut bytes = Vec::new();
        std::io::copy(&mut archive.by_name(&name)?, &mut bytes)?;
        fs::write(Path::new(&folder).join(file), bytes)?;
    }
    Ok(())
}
