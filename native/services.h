// What speaks in a flow, in Zeek's names, from its ports and the first bytes of its payload.

#pragma once

#include <cstdint>

#include "packets.h"

namespace lstmkit {

constexpr int LOOKED_AT = 3;  // packets with payload of each end

// What the payload of one end looks like, a Sign; 0 if like nothing known.
uint8_t sign_of(uint8_t protocol, uint16_t server_port, Span payload);

// From what each end looked like.
const char* service_of(uint8_t protocol, uint16_t server_port, uint8_t originator,
                       uint8_t responder);

}  // namespace lstmkit
