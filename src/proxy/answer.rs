//! Responses that hopwire makes itself, where it cannot or must not forward: in the form that S3 clients read.

/// The response to a request that was not forwarded. It closes the connection.
pub(super) fn error(status: u16, reason: &str, code: &str, message: &str) -> Vec<u8> {
    let mut text = String::with_capacity(message.len());
    for letter in message.chars() {
        match letter {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            letter if letter.is_control() => text.push(' '),
            letter => text.push(letter),
        }
    }
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{text}</Message>\
         <RequestId>hopwire</RequestId></Error>\n"
    );
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nServer: hopwire\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}
