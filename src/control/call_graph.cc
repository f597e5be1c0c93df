#include "control/call_graph.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "control/stored_call.h"

namespace ember {
namespace {

constexpr std::size_t kMostCalls = 10'000;
constexpr std::size_t kMostLevels = 64;

Money total_of(const CallReport& report) {
  return report.pays_start ? report.cost + report.start_cost : report.cost;
}

}  // namespace

struct CallGraph::Drawing {
  struct Node {
    JsonValue document;
    Money cost;
    std::vector<CallId> children = {};
  };

  CallId root;
  AsyncCalls::Done done;
  std::map<CallId, Node> nodes = {};
  std::vector<CallId> level = {};  // whose children are looked for next
  std::vector<CallId> next = {};
  std::size_t levels = 0;
  bool whole = true;  // nothing was left out

  // Whether it is one more.
  bool add(CallId call, CallId parent, JsonValue document, Money cost) {
    if (nodes.contains(call)) return false;
    if (nodes.size() >= kMostCalls) return whole = false;
    nodes[call] = {std::move(document), cost};
    next.push_back(call);
    if (const auto above = nodes.find(parent); above != nodes.end() && call != root) {
      above->second.children.push_back(call);
    }
    return true;
  }

  void add(const StoredCall& stored) {
    add(stored.call.id, stored.call.parent, entry_of(stored), total_of(stored_report(stored)));
  }

  // With what all beneath it has cost.
  std::pair<JsonValue, Money> tree(CallId call) {
    Node& node = nodes[call];
    std::ranges::sort(node.children);
    Money cost = node.cost;
    JsonValue children = JsonValue::array();
    for (const CallId child : node.children) {
      auto [document, child_cost] = tree(child);
      children.push_back(std::move(document));
      cost += child_cost;
    }
    JsonValue document = std::move(node.document);
    document["tree_cost_usd"] = cost.decimal();
    document["children"] = std::move(children);
    return {std::move(document), cost};
  }

  void finish() {
    done(dump_json({{"call", tree(root).first}, {"calls", nodes.size()}, {"whole", whole}}));
  }
};

// One that is in memory.
bool CallGraph::add_known(Drawing& drawing, CallId call) const {
  if (const Call* live = calls_.find(call)) {
    JsonValue document = listings_.call_entry(*live);
    document["reason"] = listings_.why(*live);
    drawing.add(call, live->parent, std::move(document), live->earlier_cost);
    return true;
  }
  const FinishedCall* finished = calls_.find_finished(call);
  if (!finished) return false;
  JsonValue document = listings_.call_entry(*finished);
  drawing.add(call, finished->parent, std::move(document), total_of(finished->report));
  return true;
}

void CallGraph::draw(CallId root, AsyncCalls::Done done) {
  const auto drawing = std::make_shared<Drawing>(Drawing{root, std::move(done)});
  if (add_known(*drawing, root)) return add_level(drawing);
  store_.query_call(root, background_.to_loop([this, drawing](const Result<StoredCall>& found) {
    if (!found && found.error().code == ErrorCode::not_found) {
      return drawing->done(CallTable::no_such_call(drawing->root));
    }
    if (!found) return drawing->done(found.error());
    drawing->add(*found);
    add_level(drawing);
  }));
}

std::vector<CallId> CallGraph::known_children(const Drawing& drawing) const {
  std::vector<CallId> children;
  for (const CallId parent : drawing.level) {
    for (const CallId child : calls_.children_of(parent)) children.push_back(child);
  }
  const std::set<CallId> parents(drawing.level.begin(), drawing.level.end());
  for (const FinishedCall* call : calls_.finished_calls({}, kMostCalls)) {
    if (call->parent && parents.contains(call->parent)) children.push_back(call->id);
  }
  return children;
}

void CallGraph::add_level(const Shared& drawing) {
  drawing->level = std::exchange(drawing->next, {});
  if (drawing->level.empty()) return drawing->finish();
  if (++drawing->levels > kMostLevels) {
    drawing->whole = false;
    return drawing->finish();
  }
  for (const CallId child : known_children(*drawing)) add_known(*drawing, child);
  store_.query_children(
      drawing->level, kMostCalls,
      background_.to_loop([this, drawing](const Result<std::vector<StoredCall>>& found) {
        if (!found) return drawing->done(found.error());
        for (const StoredCall& stored : *found) drawing->add(stored);
        add_level(drawing);
      }));
}

}  // namespace ember
