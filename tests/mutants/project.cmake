# The scratch project that run.py builds each mutant in: the pure folders and ember-sim, optimised
# just enough to run many seeds.
cmake_minimum_required(VERSION 3.25)
project(mutants LANGUAGES CXX)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_BUILD_TYPE RelWithDebInfo)
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1")

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
endif()

list(APPEND CMAKE_MODULE_PATH ${CMAKE_SOURCE_DIR}/cmake)
set(EMBER_WERROR OFF)  # what a mutant leaves unused is no error
include(ember)
find_package(CLI11 REQUIRED)

foreach(folder base model queue autoscaler scheduler billing engine sim)
  add_subdirectory(src/${folder})
endforeach()
ember_program(ember-sim src/app/sim_main.cc sim engine)
