// What things cost, as documents: bills from the ledger, one call here and elsewhere.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "billing/price_book.h"
#include "control/call_table.h"
#include "store/store.h"

namespace ember {

// Reads "app,function,day,phase,meter", any of them in any order.
Result<std::vector<CostGroup>> parse_cost_groups(std::string_view text);
std::string cost_document(const std::vector<CostGroup>& by, const std::vector<CostRow>& rows);

// The same seconds of the same resources at each provider that has such a GPU.
std::string call_cost_document(const FinishedCall& call, const PriceBook& prices, Date on);

}  // namespace ember
