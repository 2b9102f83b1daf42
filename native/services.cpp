#include "services.h"

namespace lstmkit {
namespace {

enum Sign : uint8_t {
    NOTHING, HTTP_REQUEST, HTTP_REPLY, TLS_CLIENT, TLS_SERVER, SSH, BANNER_220, SMTP_COMMAND,
    FTP_COMMAND, POP_REPLY, IMAP_REPLY, SMB, RDP, RPC, SOCKS, MYSQL, IRC, DNS, DHCP, NTP, SNMP, SIP,
    KERBEROS, RADIUS, SYSLOG, DTLS, QUIC, MODBUS, DNP3, MQTT
};

template <size_t... N>
bool any_of(Span p, const char (&... texts)[N]) {
    return (p.begins(texts) || ...);
}

bool http_request(Span p) {
    return any_of(p, "GET /", "POST /", "HEAD /", "PUT /", "OPTIONS ", "CONNECT ", "DELETE /",
                  "PROPFIND /", "TRACE /", "GET http", "POST http", "HEAD http", "PATCH /");
}

uint8_t tls(Span p) {
    const bool record = p.u8(0) == 0x16 && p.u8(1) == 3 && p.u8(2) <= 4;
    if (record) return p.u8(5) == 1 ? TLS_CLIENT : p.u8(5) == 2 ? TLS_SERVER : NOTHING;
    const bool version_2 = p.u8(0) & 0x80 && p.u8(2) == 1 && (p.u8(3) == 3 || p.be16(3) == 2);
    return version_2 && p.has(0, 11) ? TLS_CLIENT : NOTHING;
}

bool sip(Span p) {
    return any_of(p, "SIP/2.0 ", "INVITE sip", "REGISTER sip", "OPTIONS sip", "ACK sip", "BYE sip",
                  "SUBSCRIBE sip", "NOTIFY sip", "CANCEL sip");
}

bool dns(Span p) {
    const uint16_t questions = p.be16(4), answers = p.be16(6);
    const int operation = p.u8(2) >> 3 & 15;
    return p.has(0, 12) && operation <= 5 && questions <= 32 && answers <= 512 &&
           (questions || answers);
}

bool dns_port(uint16_t port) { return port == 53 || port == 5353 || port == 5355 || port == 137; }

uint8_t udp_sign(uint16_t port, Span p) {
    if (dns_port(port) && dns(p)) return DNS;
    if ((port == 67 || port == 68) && p.be32(236) == 0x63825363) return DHCP;
    if (port == 123 && p.has(0, 48) && (p.u8(0) >> 3 & 7) <= 4) return NTP;
    if ((port == 161 || port == 162) && p.u8(0) == 0x30) return SNMP;
    if (port == 88 && (p.u8(0) & 0xe0) == 0x60) return KERBEROS;
    if (port == 1812 && p.has(0, 20) && p.be16(2) <= 4096) return RADIUS;
    if (port == 514 && p.u8(0) == '<') return SYSLOG;
    if (p.u8(0) == 0x16 && p.u8(1) == 0xfe && p.u8(2) >= 0xfd) return DTLS;
    if (port == 443 && (p.u8(0) & 0xc0) == 0xc0 && p.be32(1) == 1) return QUIC;
    return sip(p) ? SIP : NOTHING;
}

uint8_t command(Span p) {
    if (any_of(p, "EHLO ", "HELO ", "ehlo ", "helo ", "Ehlo ", "Helo ")) return SMTP_COMMAND;
    if (any_of(p, "USER ", "user ", "AUTH ", "FEAT", "SYST")) return FTP_COMMAND;
    return NOTHING;
}

uint8_t line_sign(uint16_t port, Span p) {
    if (http_request(p)) return HTTP_REQUEST;
    if (p.begins("HTTP/1.")) return HTTP_REPLY;
    if (p.begins("SSH-")) return SSH;
    if (any_of(p, "220 ", "220-")) return BANNER_220;
    if (p.begins("+OK")) return POP_REPLY;
    if (p.begins("* OK")) return IMAP_REPLY;
    if (sip(p)) return SIP;
    if (port >= 6666 && port <= 6669 && any_of(p, "NICK ", "USER ", "PASS ", ":")) return IRC;
    return command(p);
}

uint8_t binary_sign(uint16_t port, Span p) {
    if (p.be32(4) == 0xff534d42 || p.be32(4) == 0xfe534d42) return SMB;
    if (p.be16(0) == 0x0300 && p.u8(5) == 0xe0) return RDP;
    if (p.be16(0) == 0x0500 && (p.u8(2) == 11 || p.u8(2) == 12)) return RPC;
    if (port == 53 && dns(p.from(2))) return DNS;
    if (port == 88 && (p.u8(4) & 0xe0) == 0x60) return KERBEROS;
    if (port == 1080 && (p.u8(0) == 4 || p.u8(0) == 5)) return SOCKS;
    if (port == 3306 && p.u8(3) == 0 && p.u8(4) == 10) return MYSQL;
    if (port == 502 && p.has(0, 8) && p.be16(2) == 0) return MODBUS;
    if (port == 20000 && p.be16(0) == 0x0564) return DNP3;
    if (port == 1883 && p.u8(0) == 0x10) return MQTT;
    return NOTHING;
}

const char* udp_service(uint8_t sign) {
    switch (sign) {
        case DNS: return "dns";
        case DHCP: return "dhcp";
        case NTP: return "ntp";
        case SNMP: return "snmp";
        case SIP: return "sip";
        case KERBEROS: return "krb";
        case RADIUS: return "radius";
        case SYSLOG: return "syslog";
        case DTLS: return "dtls";
        case QUIC: return "quic";
        default: return "";
    }
}

// Of protocols that one end's words are enough for.
const char* tcp_service(uint8_t sign) {
    switch (sign) {
        case TLS_CLIENT: case TLS_SERVER: return "ssl";
        case SMB: return "smb";
        case RDP: return "rdp";
        case RPC: return "dce_rpc";
        case DNS: return "dns";
        case KERBEROS: return "krb_tcp";
        case SOCKS: return "socks";
        case MYSQL: return "mysql";
        case IRC: return "irc";
        case SIP: return "sip";
        case IMAP_REPLY: return "imap";
        case POP_REPLY: return "pop3";
        case MODBUS: return "modbus";
        case DNP3: return "dnp3_tcp";
        case MQTT: return "mqtt";
        default: return "";
    }
}

bool http_port(uint16_t port) {
    return port == 80 || port == 81 || port == 631 || port == 1080 || port == 3128 ||
           port == 8000 || port == 8080 || port == 8888;
}

}  // namespace

uint8_t sign_of(uint8_t protocol, uint16_t port, Span p) {
    if (protocol == UDP) return udp_sign(port, p);
    const uint8_t secure = tls(p);
    if (secure) return secure;
    const uint8_t line = line_sign(port, p);
    return line ? line : binary_sign(port, p);
}

const char* service_of(uint8_t protocol, uint16_t port, uint8_t o, uint8_t r) {
    if (protocol == UDP) return udp_service(o ? o : r);
    if (o == HTTP_REQUEST) return http_port(port) || r == HTTP_REPLY ? "http" : "";
    if (o == SSH || r == SSH) return o == r ? "ssh" : "";
    if (r == BANNER_220) return o == SMTP_COMMAND ? "smtp" : o == FTP_COMMAND ? "ftp" : "";
    const char* of_originator = tcp_service(o);
    return *of_originator ? of_originator : tcp_service(r);
}

}  // namespace lstmkit
