//! One page, served to browsers on this machine alone.
//!
//! Written over the standard library: what is asked for is two addresses and no bodies. Of the small servers that there are, tiny_http was
//! last released in 2022, and oxhttp 0.3 neither tells which free port it took nor leaves room to refuse by host; hyper and what
//! stands on it bring an executor for one reader.

use lopper_core::{Error, Result};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

/// The longest request that is read; browsers send less than two thousand bytes.
const LONGEST: usize = 16 * 1024;
/// How long a browser may take to send it, or to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A page that may be replaced while it is served.
#[derive(Debug, Clone)]
pub(crate) struct Page(Arc<Mutex<Arc<Content>>>);

#[derive(Debug, Default)]
struct Content {
    html: String,
    state: String,
}

impl Page {
    /// A page as `lopper_report` makes it, which looks every other second whether there is a newer one.
    pub(crate) fn new(html: &str) -> Self {
        let page = Self(Arc::default());
        page.replace(html);
        page
    }

    /// Puts another one in its place.
    pub(crate) fn replace(&self, html: &str) {
        let state = blake3::hash(html.as_bytes()).to_hex().to_string();
        let script = format!(
            "<script>setInterval(async()=>{{try{{const r=await fetch('/state',{{cache:'no-store'}});\
             if(r.ok&&await r.text()!=='{state}')location.reload()}}catch{{}}}},2000)</script></body>"
        );
        // The page itself may ask nobody for anything.
        let html = html.replacen("default-src 'none';", "default-src 'none'; connect-src 'self';", 1);
        let html = html.replacen("</body>", &script, 1);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Content { html, state });
    }

    fn content(&self) -> Arc<Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Takes a port of the loopback address: a free one where `port` is 0.
///
/// # Errors
/// [`Error::InvalidValue`] naming a port that cannot be had, and why.
pub(crate) fn listen(port: u16) -> Result<(TcpListener, SocketAddr)> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|e| {
        let expected = match e.kind() {
            ErrorKind::AddrInUse => {
                "a port at which no other program listens; without --port a free one is taken".into()
            }
            ErrorKind::PermissionDenied => "a port at which this user may listen, most often from 1024 up".into(),
            _ => format!("a port of 127.0.0.1 that can be listened at ({e})"),
        };
        Error::invalid("--port", port.to_string(), expected)
    })
}

/// Answers everybody who asks for the page, from threads of their own, until the process ends.
///
/// # Errors
/// [`Error::Other`] when the system starts no thread.
pub(crate) fn serve(listener: TcpListener, page: &Page) -> Result<()> {
    let page = page.clone();
    let accept = move || {
        for stream in listener.incoming().flatten() {
            let page = page.clone();
            // Without a thread for it the browser asks again.
            let answer = Builder::new().name("page".into()).spawn(move || answer(stream, &page.content()));
            drop(answer);
        }
    };
    let thread = Builder::new().name("pages".into()).spawn(accept);
    thread.map(drop).map_err(|e| Error::Other(format!("the page cannot be served: {e}")))
}

/// Reads a request and answers it. Whoever breaks off gets nothing.
fn answer(mut stream: TcpStream, content: &Content) {
    let timeouts = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    let Some(request) = timeouts.ok().and_then(|()| request(&mut stream)) else { return };
    let answer = response(&request, content);
    if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_ok() {
        // Whatever else was sent is left unread; the browser has its answer.
        let _ = stream.shutdown(Shutdown::Write);
    }
}

/// A request up to its empty line.
fn request(stream: &mut TcpStream) -> Option<String> {
    let (mut read, mut buffer) = (Vec::new(), [0; 2048]);
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(length) if read.len() + length <= LONGEST => read.extend_from_slice(&buffer[..length]),
            Ok(_) => return None,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    String::from_utf8(read).ok()
}

fn response(request: &str, content: &Content) -> String {
    let mut lines = request.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let host = lines.filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("host"));
    // Otherwise a page of the network could have its own name lead here, and read what this one says.
    let ours = host.is_some_and(|(_, host)| is_this_machine(host.trim()));
    let (status, kind, body) = match (ours, method, target) {
        (false, ..) => ("403 Forbidden", "text/plain", "ask 127.0.0.1 or localhost"),
        (_, "GET" | "HEAD", "/") => ("200 OK", "text/html", &*content.html),
        (_, "GET" | "HEAD", "/state") => ("200 OK", "text/plain", &*content.state),
        (_, "GET" | "HEAD", _) => ("404 Not Found", "text/plain", "there is one page, /"),
        _ => ("405 Method Not Allowed", "text/plain", "GET is answered"),
    };
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{allow}Connection: close\r\n\r\n"
    );
    if method == "HEAD" { head } else { head + body }
}

/// Whether a `Host` is this machine by one of its own names, whatever the port.
fn is_this_machine(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTML: &str = "<html><meta content=\"default-src 'none'; x\"/><body>é</body></html>";

    fn asked(page: &Page, request: &str) -> String {
        response(&request.replace('\n', "\r\n"), &page.content())
    }

    #[test]
    fn two_addresses_are_answered() {
        let page = Page::new(HTML);
        let get = |target: &str| asked(&page, &format!("GET {target} HTTP/1.1\nHost: localhost:8000\n\n"));
        let whole = get("/");
        let (head, body) = whole.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        assert!(body.contains("é<script>") && body.ends_with("</script></body></html>"), "{body}");
        assert!(body.contains("default-src 'none'; connect-src 'self';"), "or the browser may not look: {body}");
        let state = get("/state").rsplit_once("\r\n").unwrap().1.to_owned();
        assert!(state.len() == 64 && body.contains(&state));
        assert!(get("/record.json").starts_with("HTTP/1.1 404"));
        assert!(asked(&page, "HEAD / HTTP/1.1\nHost: 127.0.0.1\n\n").ends_with("\r\n\r\n"));
        assert!(asked(&page, "POST / HTTP/1.1\nHost: 127.0.0.1\n\n").contains("Allow: GET"));
        page.replace(&HTML.replace('é', "ü"));
        assert_ne!(asked(&page, "GET /state HTTP/1.1\nHost: localhost\n\n").rsplit_once("\r\n").unwrap().1, state);
    }

    #[test]
    fn pages_of_other_names_are_refused() {
        let page = Page::new(HTML);
        for host in ["", "Host: evil.example\n", "Host: localhost.evil.example:80\n", "Host: 127.0.0.1.evil.example\n"]
        {
            let answer = asked(&page, &format!("GET / HTTP/1.1\n{host}\n"));
            assert!(answer.starts_with("HTTP/1.1 403") && !answer.contains("<html>"), "{host}: {answer}");
        }
        assert!(asked(&page, "\n\n").starts_with("HTTP/1.1 403"));
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let (_taken, address) = listen(0).unwrap();
        let error = listen(address.port()).unwrap_err().to_string();
        let port = address.port();
        assert!(
            error.contains(&format!("--port = {port}")) || error.contains(&format!("--port = \"{port}\"")),
            "{error}"
        );
        assert!(error.contains("no other program listens"), "{error}");
    }
}
