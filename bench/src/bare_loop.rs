//! The limit for pushes: receives a body, hashes it, writes it and makes it durable, and nothing else.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use sha2::{Digest as _, Sha256};

/// Serves uploads into `folder` on `port` until the process ends.
///
/// # Errors
/// The port is taken.
pub(crate) fn serve(port: u16, folder: &Path) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    for stream in listener.incoming() {
        let (stream, folder) = (stream?, folder.to_owned());
        // A connection that ends in an error ends.
        thread::spawn(move || connection(&stream, &folder));
    }
    Ok(())
}

fn connection(stream: &TcpStream, folder: &PathBuf) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    let mut writer = stream;
    let mut piece = vec![0; 1 << 20];
    loop {
        let mut length = 0;
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        if first.starts_with("POST") {
            writer.write_all(b"HTTP/1.1 202 Accepted\r\nLocation: /upload\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        let path = folder.join(NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
        let mut file = File::create_new(&path)?;
        let mut hash = Sha256::new();
        while length > 0 {
            let most = piece.len().min(length);
            let read = reader.read(&mut piece[..most])?;
            if read == 0 {
                return fs::remove_file(&path);
            }
            hash.update(&piece[..read]);
            file.write_all(&piece[..read])?;
            length -= read;
        }
        file.sync_data()?;
        File::open(folder)?.sync_all()?;
        let digest = roadstead_testkit::content::hex(&hash.finalize());
        write!(writer, "HTTP/1.1 201 Created\r\nDocker-Content-Digest: sha256:{digest}\r\nContent-Length: 0\r\n\r\n")?;
    }
}
