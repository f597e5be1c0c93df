// Giving privileges up: what talks to the network holds none.
#pragma once

#include <sys/types.h>

#include "base/result.h"

namespace ember {

// Where `serve` started as root goes on: an id without a name, from the range that systemd.exec(5)
// keeps for such services, so that it owns nothing but its own state.
inline constexpr uid_t kServeUid = 61'777;
inline constexpr gid_t kServeGid = 61'777;

// As root: becomes kServeUid for good (groups, ids, capabilities, no_new_privs). As anyone else:
// sets no_new_privs. Checks that there is no way back.
Result<> give_up_privileges();

// Keeps this process's memory from core files, and from other processes of its user. A change of
// user may undo it.
Result<> forbid_core_dumps();

}  // namespace ember
