# One target per folder of src/, linked with its row of the house's table and nothing else.
# tools/tidy checks the same table over the #include lines.

find_package(Threads REQUIRED)
find_package(GTest REQUIRED)
include(GoogleTest)

# What only tests need: `make test` builds it, `make build` does not.
add_custom_target(tests)

add_library(ember_flags INTERFACE)
target_include_directories(ember_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(ember_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  -Wno-sign-conversion -Wnon-virtual-dtor -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # g++ 12 sees uninitialised members in every moved std::variant (GCC bug 105562).
  target_compile_options(ember_flags INTERFACE -Wno-maybe-uninitialized)
endif()
if(EMBER_WERROR)
  target_compile_options(ember_flags INTERFACE -Werror)
endif()
if(EMBER_SANITIZE)
  target_compile_options(ember_flags INTERFACE -O1 -fsanitize=${EMBER_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(ember_flags INTERFACE -fsanitize=${EMBER_SANITIZE})
  # Asio's fences, which the thread sanitizer does not know; what they order is ordered by locks too.
  target_compile_definitions(ember_flags INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
endif()
if(EMBER_FUZZ)
  # The second pair counts lines, for llvm-cov.
  set(fuzz_flags -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
    -fprofile-instr-generate -fcoverage-mapping)
  target_compile_options(ember_flags INTERFACE ${fuzz_flags})
  target_link_options(ember_flags INTERFACE ${fuzz_flags})
endif()

# Headers that are dear to read, and in most files of a folder that speaks JSON.
set(EMBER_DEAR_HEADERS <nlohmann/json.hpp> <boost/asio/io_context.hpp> <boost/asio/post.hpp>
  <boost/asio/steady_timer.hpp> <algorithm> <chrono> <filesystem> <fstream> <functional> <map>
  <memory> <optional> <sstream> <string> <variant> <vector>)

# ember_folder(NAME [DEPS folder...] [LIBS library...])
# Builds src/NAME/*.cc into ember_NAME and src/NAME/*_test.cc into NAME_test.
# Files that end in main.cc are programs (ember_program), not part of the library.
# A folder with headers alone becomes an interface library. Tests are not optimised: they are built
# more often than their own code is slow.
function(ember_folder name)
  cmake_parse_arguments(ARG "" "" "DEPS;LIBS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "(_test|main)\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(TRANSFORM ARG_DEPS PREPEND ember_)
  if(sources)
    add_library(ember_${name} STATIC ${sources})
    target_link_libraries(ember_${name} PUBLIC ember_flags ${ARG_DEPS} ${ARG_LIBS})
  else()
    add_library(ember_${name} INTERFACE)
    target_link_libraries(ember_${name} INTERFACE ember_flags ${ARG_DEPS} ${ARG_LIBS})
  endif()
  set(dear "")
  if("nlohmann_json::nlohmann_json" IN_LIST ARG_LIBS)
    set(dear ${EMBER_DEAR_HEADERS})
    target_precompile_headers(ember_${name} PRIVATE ${dear})
  endif()
  if(tests)
    add_executable(${name}_test EXCLUDE_FROM_ALL ${tests})
    add_dependencies(tests ${name}_test)
    target_link_libraries(${name}_test PRIVATE ember_${name} GTest::gtest GTest::gmock GTest::gtest_main)
    target_compile_options(${name}_test PRIVATE -O0)
    list(LENGTH tests files)
    if(files GREATER 2)
      target_precompile_headers(${name}_test PRIVATE <gmock/gmock.h> <gtest/gtest.h> ${dear})
    endif()
    gtest_discover_tests(${name}_test TEST_PREFIX "${name}: " DISCOVERY_MODE PRE_TEST
      PROPERTIES TIMEOUT 120)
  endif()
endfunction()

# ember_program(NAME MAIN folder...): build/bin/NAME from one main file of src/app and the folders it wires.
function(ember_program name main)
  add_executable(${name} ${main})
  set(folders ${ARGN})
  list(TRANSFORM folders PREPEND ember_)
  target_link_libraries(${name} PRIVATE ember_flags ${folders} CLI11::CLI11)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()
