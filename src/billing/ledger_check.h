// Whether ledger entries are what a container's life makes of them: its windows tile it without gap
// or overlap, every meter has each millisecond of a window in exactly one phase, and each amount is
// the quantity times the price, rounded once.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/money.h"
#include "base/time.h"
#include "model/ids.h"
#include "model/usage.h"

namespace ember {

struct LedgerEntry {
  UsageRow row;
  PricePerHour price;
  Money amount;
};

struct ContainerLife {
  ContainerId container;
  Time started;
  Time ended;  // zero while it lives
};

// What is wrong, a line for each, naming container, window and meter; nothing where all is right.
// `entries` are all of that container, in the order of their windows' starts.
std::vector<std::string> check_ledger(const ContainerLife& life,
                                      std::span<const LedgerEntry> entries);

struct LeaseLife {
  LeaseId lease;
  Time from, until;
};

// The same for a lease: its windows do not overlap and lie within its life, and each amount is
// right. A gap is none of its faults, nor a window that is not full: nothing is billed while its
// node is lost.
std::vector<std::string> check_ledger(const LeaseLife& life, std::span<const LedgerEntry> entries);

}  // namespace ember
